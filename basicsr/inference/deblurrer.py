"""Deblur images of any type and size: masks, network, tiles and guard behind one call."""

from __future__ import annotations

import copy
import functools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.archs.map_unit import drop_masks
from basicsr.images.arrays import Array
from basicsr.images.files import tensor2img
from basicsr.inference.collapse_guard import Finding
from basicsr.inference.conversion import arrays_of
from basicsr.inference.photo_network import Dtype, PhotoNetwork
from basicsr.inference.pretrained import find_weights, load_network
from basicsr.inference.remedies import GuardMode, restore_guarded
from basicsr.inference.restoring import Tile
from basicsr.masks.cache import MaskCache
from basicsr.masks.files import read_masks
from basicsr.masks.generator import MaskGenerator, build_generator
from basicsr.masks.label_map import check_label_map, label_map_from_masks
from basicsr.masks.mask_images import eight_bits
from basicsr.utils.device import select_device
from basicsr.utils.errors import ArgumentError, MaskError, OptionError, ShapeError

MaskMode = Literal['auto', 'none']
MasksLike = MaskMode | str | Path | Array | Tensor | None
"""Masks of an image, see :meth:`Deblurrer.deblur`."""


@dataclass(frozen=True)
class Deblurred:
    """A deblurred image and how it was made.

    Args:
        image: of the same type, shape and dtype as the input.
        labels: label map (L, H, W) that the network used; None if it takes no masks.
        kernel: (h, w) float32, not negative, sum 1: blur kernel of the whole image (after joint training a code rather
            than the kernel itself); None if the network estimates none.
        seconds: for masks, network and guard.
        mask_seconds: of these, for the masks.
        tile: side of the tiles in pixels; None if the image was restored whole.
        finding: collapse of the first attempt; None if there was none or the guard is off.
        remedy: how the collapse was handled; empty without a collapse.
        repaired: share of the image that shows the input, because every attempt collapsed there.
    """

    image: Any
    labels: Array | None = None
    kernel: Array | None = None
    seconds: float = 0.0
    mask_seconds: float = 0.0
    tile: int | None = None
    finding: Finding | None = None
    remedy: str = ''
    repaired: float = 0.0

    @property
    def warning(self) -> str:
        """Message about a collapse for the user; empty without one."""
        return f'{self.finding.text()}; {self.remedy}' if self.finding else ''


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
    ) -> None:
        for key, value, choices in (('dtype', dtype, Dtype), ('masks', masks, MaskMode), ('guard', guard, GuardMode)):
            if value not in get_args(choices):
                raise OptionError(f'{key} is {" or ".join(get_args(choices))}, not {value!r}')
        self.name = name or type(net).__name__
        network = PhotoNetwork(net, self.name, select_device(device), dtype, self_ensemble)
        self.net, self.device, self.dtype = network.net, network.device, network.dtype
        self.takes_masks = network.prior != 'none'
        self.finds_kernel = network.contract.kernel_role == 'finds'
        self.mask_value = network.contract.mask_value
        self.masks, self.cache, self.tile, self.guard = masks, cache, tile, guard
        block = {'type': generator} if isinstance(generator, str) else generator
        self._building = threading.Lock()  # one mask generator, whoever asks first
        self._generator = functools.cache(lambda: build_generator(block) if isinstance(block, Mapping) else block)
        self._network = network
        self._lock = threading.Lock()

    @classmethod
    def load(cls, name_or_path: str | Path | None = None, **arguments: Any) -> Deblurrer:
        """Return a deblurrer with the network of a file.

        Args:
            name_or_path: a network file, or the stem of one in ``experiments/pretrained_models`` such as
                ``analysis-synthesis``; None is the bundled network.
            **arguments: of the class: ``device``, ``dtype``, ``masks``, ``generator``, ``tile``, ...

        Raises:
            WeightsError: the file is missing or damaged, its network is unknown or not for RGB images.
            UnsafeWeightsError: the file contains objects that could run code; it was not loaded.
            OptionError: no such device, or an unknown value of an argument.
        """
        path = find_weights(name_or_path)
        return cls(load_network(path), **{'name': path.stem, **arguments})

    def without_cache(self) -> Deblurrer:
        """Return a deblurrer with the same network and lock that stores no masks, as for frames of a video."""
        other = copy.copy(self)
        other.cache = None
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

        Raises:
            ShapeError: not exactly one image, or too small for the network.
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
        pixels, least = arrays[0], self._network.contract.input_rule.minimum
        height, width, channels = pixels.shape
        if self.finds_kernel and (height < least[0] or width < least[1]):
            needed = f'at least {least[0]}×{least[1]} are needed'
            raise ShapeError(f'{height}×{width} pixels are too few to estimate a blur kernel; {needed}')
        start = time.perf_counter()
        labels = self._labels(pixels, self.masks if masks is None else masks)
        if labels is not None and mask_dropout:
            labels = drop_masks(torch.from_numpy(labels)[None], mask_dropout, [seed])[0].numpy()
        made = time.perf_counter()
        white = float(np.iinfo(pixels.dtype).max) if pixels.dtype != np.float32 else 1.0
        lq = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None].to(self.device) / white
        lq = lq.expand(1, 3, -1, -1)
        with self._lock, self._network.weighing(mask_value):
            restored = restore_guarded(self._network.restore, lq, labels, self.tile, self.guard, self.name)
        output = restored.image.mean(1, keepdim=True) if channels == 1 else restored.image
        array = tensor2img(output, rgb2bgr=False, out_type=pixels.dtype.type).reshape(pixels.shape)
        kernel = None if restored.kernel is None else restored.kernel[0].float().cpu().numpy()
        how = restored.tile, restored.finding, restored.remedy, restored.repaired
        return Deblurred(back([array]), labels, kernel, time.perf_counter() - start, made - start, *how)

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
