"""Deblur images of any type and size: masks, network, tiles and guard behind one call."""

from __future__ import annotations

import copy
import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.archs.map_unit import drop_masks
from basicsr.deconvolution.kernels import check_kernel, resized_kernel
from basicsr.deconvolution.photos import MAX_KERNELS, Progress
from basicsr.images.arrays import Array
from basicsr.images.files import tensor2img
from basicsr.inference.conversion import arrays_of
from basicsr.inference.deblurred import Deblurred
from basicsr.inference.methods import (
    Choice,
    KernelSettings,
    Method,
    by_kernels,
    by_known_kernel,
    reduced,
    with_change,
)
from basicsr.inference.photo_network import Dtype, PhotoNetwork
from basicsr.inference.pretrained import find_weights, is_bundled, load_network
from basicsr.inference.remedies import GuardMode, guard_result, restore_guarded
from basicsr.inference.restoring import Tile
from basicsr.masks.cache import MaskCache
from basicsr.masks.files import read_masks
from basicsr.masks.generator import MaskGenerator, build_generator
from basicsr.masks.label_map import check_label_map, label_map_from_masks, resized_label_map
from basicsr.masks.mask_images import eight_bits
from basicsr.utils.device import select_device
from basicsr.utils.errors import ArgumentError, DataError, MaskError, OptionError, ShapeError

MaskMode = Literal['auto', 'none']
MasksLike = MaskMode | str | Path | Array | Tensor | None
"""Masks of an image, see :meth:`Deblurrer.deblur`."""


class Deblurrer:
    """A network that deblurs images of any size and type, with the masks it needs.

    Several threads may call it; only one of them runs the network at a time.

    Args:
        net: from :func:`~basicsr.archs.build_network`, for RGB images in [0, 1]; put into evaluation mode.
        name: of the network, for messages.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        dtype: ``fp32``; ``bf16`` for autocast; ``auto`` is bf16 where it is faster and known to agree with fp32 to
            50 dB or more: networks of NAFNet blocks on GPUs and CPUs with bf16 units.
        masks: default of each call: ``auto`` uses the mask generator, ``none`` one region.
        generator: mask generator: a name, a block (``type`` and arguments) or the generator itself.
        cache: stores generated masks for later runs; None stores none.
        tile: side of the tiles in pixels; ``auto`` uses tiles for images that do not fit into memory, None never.
        self_ensemble: average over the eight flips and rotations of the image, which takes eight times as long.
        guard: action on a collapse. ``repair`` tries other tiles, then no masks, then shows the input where all
            attempts collapse; ``refuse`` raises; ``warn`` only reports (non-finite values still become the input's);
            ``off`` does not check.
        method: ``network``; ``kernel`` deconvolves with blur kernels where they explain the image, which need no
            weights (a network that estimates the kernel uses its own); ``auto`` does so and uses the network elsewhere,
            and keeps sharp images.
        strength: factor of the change, 0 (the image itself) to 1.
        scale: deblur a copy scaled by this factor, at most 1, and add its change to the image.
        max_side: largest side of that copy in pixels; None does not limit it.
        max_kernels: largest number of windows with kernels of their own.
        force: use every kernel, also those that do not explain the image.

    Attributes:
        net: the network.
        device: its ``torch.device``.
        dtype: ``fp32`` or ``bf16``.
        takes_masks: whether the network uses masks; it ignores them otherwise.
        finds_kernel: whether the network estimates the blur kernel of an image.
        mask_value: weight of a masked pixel; None if masks have no weight.

    Raises:
        OptionError: no such device, or an unknown value of an argument.
        WeightsError: the network does not map an RGB image to an RGB image.
        UnknownNameError: no such generator.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str = '',
        device: str = 'auto',
        dtype: Dtype = 'auto',
        masks: MaskMode = 'auto',
        generator: str | Mapping[str, Any] | MaskGenerator = 'felzenszwalb',
        cache: MaskCache | None = None,
        tile: Tile = 'auto',
        self_ensemble: bool = False,
        guard: GuardMode = 'repair',
        method: Method = 'network',
        strength: float = 1.0,
        scale: float = 1.0,
        max_side: int | None = None,
        max_kernels: int = MAX_KERNELS,
        force: bool = False,
    ) -> None:
        choices = {'dtype': (dtype, Dtype), 'masks': (masks, MaskMode), 'guard': (guard, GuardMode)}
        for key, (value, allowed) in {**choices, 'method': (method, Method)}.items():
            if value not in get_args(allowed):
                raise OptionError(f'{key} is {" or ".join(get_args(allowed))}, not {value!r}')
        limits = {
            'strength is from 0 to 1': (strength, 0 <= strength <= 1),
            'scale is above 0 and at most 1': (scale, 0 < scale <= 1),
            'max_side is at least 16': (max_side, max_side is None or max_side >= 16),
            'max_kernels is at least 1': (max_kernels, max_kernels >= 1),
        }
        for text, (number, holds) in limits.items():
            if not holds:
                raise OptionError(f'{text}, not {number}')
        self.name = name or type(net).__name__
        network = PhotoNetwork(net, self.name, select_device(device), dtype, self_ensemble)
        self.net, self.device, self.dtype = network.net, network.device, network.dtype
        self.takes_masks = network.prior != 'none'
        self.finds_kernel = network.contract.kernel_role == 'finds'
        self.mask_value = network.contract.mask_value
        self.masks, self.cache, self.tile, self.guard = masks, cache, tile, guard
        self.method, self.strength, self.scale, self.max_side = method, strength, scale, max_side
        self.max_kernels, self.force = max_kernels, force
        block = {'type': generator} if isinstance(generator, str) else generator
        self._building = threading.Lock()  # one mask generator, whoever asks first
        self._generator = functools.cache(lambda: build_generator(block) if isinstance(block, Mapping) else block)
        self._network, self._frames = network, False
        self._lock = threading.Lock()

    @classmethod
    def load(cls, name_or_path: str | Path | None = None, **arguments: Any) -> Deblurrer:
        """Return a deblurrer with the network of a file.

        Args:
            name_or_path: a network file, or the stem of one in ``experiments/pretrained_models`` such as
                ``analysis-synthesis``; None is the bundled network. The bundled network has ``method='auto'``.
            **arguments: of the class: ``method``, ``device``, ``dtype``, ``masks``, ``generator``, ``tile``, ...

        Raises:
            WeightsError: the file is missing or damaged, its network is unknown or not for RGB images.
            UnsafeWeightsError: the file contains objects that could run code; it was not loaded.
            OptionError: no such device, or an unknown value of an argument.
        """
        path = find_weights(name_or_path)
        defaults = {'name': path.stem, 'method': 'auto' if is_bundled(path) else 'network'}
        return cls(load_network(path), **{**defaults, **arguments})

    def for_frames(self) -> Deblurrer:
        """Return a deblurrer with the same network and lock for the frames of a video: no kernels, no stored masks."""
        other = copy.copy(self)
        other.cache, other.method, other._frames = None, 'network', True
        return other

    @property
    def generator(self) -> MaskGenerator:
        """The mask generator, built on first use.

        Raises:
            UnknownNameError: no such generator.
            WeightsError: its weights cannot be read.
        """
        with self._building:
            return self._generator()

    def __call__(self, image: Any, masks: MasksLike = None) -> Any:
        """Deblur an image, or a batch of images as a tensor (with one mask argument for all).

        Args:
            image: numpy (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) RGB[A], uint8, uint16 or float in [0, 1]; a PIL
                image; a tensor (C, H, W) or (B, C, H, W), uint8 or float in [0, 1]. Alpha is kept; the colours under
                it are deblurred.
            masks: see :meth:`deblur`.

        Returns:
            the same type, shape, dtype and device; float values in [0, 1].

        Raises:
            as :meth:`deblur`.
        """
        arrays, back = arrays_of(image)
        return back([self.deblur(array, masks).image for array in arrays])

    def deblur(
        self,
        image: Any,
        masks: MasksLike = None,
        *,
        mask_dropout: float = 0.0,
        mask_value: float | None = None,
        seed: int = 0,
        kernel: Array | None = None,
        progress: Progress = lambda done, total: None,
        tiles: Progress | None = None,
    ) -> Deblurred:
        """Deblur one image and return it with details.

        Args:
            image: one image, see :meth:`__call__`.
            masks: None is the default of the class; ``'auto'`` uses the mask generator, ``'none'`` one region (as if
                all masks were dropped); a label map (L, H, W) or (H, W) of integers; boolean masks (M, H, W) or
                (M, 1, H, W); or the path of a mask file.
            mask_dropout: fraction of the masks to drop, 0 to 1.
            mask_value: weight of a masked pixel in (0, 1]; None is the one used in training.
            seed: for choosing the masks to drop.
            kernel: (h, w), not negative, h and w odd: known blur kernel of a true convolution, in pixels of the image
                (also with ``scale``). The image is deconvolved
                with it, whatever the method; a network that works with kernels (the analysis-synthesis pair) uses it
                itself, unless the method is ``kernel``.
            progress: called with the finished and the total number of steps: of the kernels, then of the tiles; may
                raise to stop.
            tiles: called instead of ``progress`` after each tile.

        Raises:
            ShapeError: not exactly one image, too small for the network, or a kernel of a wrong shape.
            DataError: the kernel has negative values, or only zeros.
            MaskError: masks of another size, or unreadable masks.
            ArgumentError: the tiles are too small for the network, or ``mask_dropout`` is not in [0, 1].
            WeightsError: the output collapsed and ``guard`` is ``refuse``.
            RuntimeError: even the smallest tiles do not fit into memory.
        """
        arrays, back = arrays_of(image)
        if len(arrays) != 1:
            raise ShapeError(f'image: expected one image, got a batch of {len(arrays)}')
        if not 0 <= mask_dropout <= 1:
            raise ArgumentError(f'mask_dropout: expected a fraction from 0 to 1, got {mask_dropout}')
        pixels = arrays[0]
        height, width = pixels.shape[:2]
        if kernel is not None:
            kernel = check_kernel(kernel, (height, width))
        start = time.perf_counter()
        labels = None if self.method == 'kernel' else self._labels(pixels, self.masks if masks is None else masks)
        if labels is not None and mask_dropout:
            labels = drop_masks(torch.from_numpy(labels)[None], mask_dropout, [seed])[0].numpy()
        made = time.perf_counter()
        white = float(np.iinfo(pixels.dtype).max) if pixels.dtype != np.float32 else 1.0
        lq = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].to(self.device) / white
        small = reduced(lq, min(self.scale, 1.0 if self.max_side is None else self.max_side / max(height, width)))
        factor = small.shape[-1] / width
        small_kernel = None if kernel is None else resized_kernel(kernel, factor)
        with self._lock, self._network.weighing(mask_value):
            self._network.progress = progress if tiles is None else tiles
            choice = self._restored(small, labels, small_kernel, progress).enlarged(1 / factor)
        done = choice.restored
        output = done.image
        if self.strength < 1 or small is not lq:
            output = with_change(lq, small, output, self.strength)
        array = tensor2img(output, rgb2bgr=False, out_type=pixels.dtype.type).reshape(pixels.shape)
        how = done.tile, done.finding, done.remedy, done.repaired, choice.method, choice.explanation, choice.assessment
        return Deblurred(
            back([array]),
            labels,
            choice.kernel if kernel is None else kernel,
            time.perf_counter() - start,
            made - start,
            *how,
        )

    def _restored(self, lq: Tensor, labels: Array | None, kernel: Array | None, progress: Progress) -> Choice:
        """Restore (1, C, H, W), C = 1 or 3, by the method."""
        if kernel is not None and not (self.finds_kernel and self.method != 'kernel'):
            return self._guarded(by_known_kernel(lq, kernel, 'with the given kernel'), lq)
        network = functools.partial(self._by_network, lq, labels, kernel)
        if self.method == 'network' or kernel is not None:
            return network()
        if self.finds_kernel and self.method == 'kernel':
            self._check_blur(lq)
            own = check_kernel(self._network.kernel_of(lq))
            return self._guarded(by_known_kernel(lq, own, 'with the kernel that the network estimated'), lq)
        settings = KernelSettings(self.max_kernels, self.force, progress)
        choice = by_kernels(lq, (lambda: network().restored) if self.method == 'auto' else None, settings)
        return self._guarded(choice, lq)

    def _guarded(self, choice: Choice, lq: Tensor) -> Choice:
        """Check a result with kernels, see :func:`~basicsr.inference.remedies.guard_result`."""
        if 'kernel' not in choice.method:
            return choice
        wide = (1, 3, -1, -1)
        restored = replace(choice.restored, image=choice.restored.image.expand(*wide))
        restored = guard_result(restored, lq.expand(*wide), self.guard, 'the result with blur kernels')
        return replace(choice, restored=replace(restored, image=restored.image[:, : lq.shape[1]]))

    def _check_blur(self, lq: Tensor) -> None:
        """Raise if a network cannot estimate the kernel of an image: too small, or one colour (frames may be black)."""
        (height, width), least = lq.shape[-2:], self._network.contract.input_rule.minimum
        if height < least[0] or width < least[1]:
            needed = f'at least {least[0]}×{least[1]} are needed'
            raise ShapeError(f'{height}×{width} pixels are too few to estimate a blur kernel; {needed}')
        if not self._frames and bool((lq == lq[..., :1, :1]).all()):
            raise DataError('all pixels have the same colour, so no blur kernel can be estimated; use another image')

    def _by_network(self, lq: Tensor, labels: Array | None, kernel: Array | None) -> Choice:
        height, width = lq.shape[-2:]
        if self.finds_kernel and kernel is None:
            self._check_blur(lq)
        run = functools.partial(self._network.restore, kernel=kernel)
        if labels is not None and labels.shape[1:] != (height, width):
            labels = resized_label_map(labels, (height, width))
        restored = restore_guarded(run, lq.expand(1, 3, -1, -1), labels, self.tile, self.guard, self.name)
        if lq.shape[1] == 1:
            restored = replace(restored, image=restored.image.mean(1, keepdim=True))
        if restored.kernel is not None:
            kernel = restored.kernel[0].float().cpu().numpy()
        return Choice(restored, 'network', kernel=kernel)

    def _labels(self, image: Array, masks: MasksLike) -> Array | None:
        """Return the label map (L, H, W) int32 for the network; None if it takes no masks."""
        if not self.takes_masks:
            return None
        size = image.shape[0], image.shape[1]
        if isinstance(masks, Tensor):
            masks = masks.cpu().numpy()
        if isinstance(masks, np.ndarray):
            labels = label_map_from_masks(masks) if masks.dtype == np.bool_ else check_label_map(masks)
        elif masks == 'auto':
            seen = eight_bits(image)
            labels = self.generator(seen) if self.cache is None else self.cache.masks(self.generator, seen)[0]
        elif masks == 'none' or masks is None:
            labels = np.zeros((1, *size), np.int32)
        elif isinstance(masks, (str, Path)):
            labels = read_masks(masks, size)
        else:
            raise MaskError(f"masks: expected 'auto', 'none', an array or a file, not a {type(masks).__name__}")
        if labels.shape[1:] != size:
            raise MaskError(f'the masks have {labels.shape[1:]} pixels (H, W), the image has {size}')
        return np.ascontiguousarray(labels, np.int32)
