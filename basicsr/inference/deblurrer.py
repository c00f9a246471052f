"""Any picture in, the sharp one out: masks, network, tiles and guard behind one call."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of
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
from basicsr.masks.pictures import eight_bits
from basicsr.utils.device import select_device
from basicsr.utils.errors import ArgumentError, MaskError, OptionError, ShapeError

MasksLike = Literal['auto', 'none'] | str | Path | Array | Tensor | None
"""What masks of a picture may be given as, see :meth:`Deblurrer.deblur`."""


@dataclass(frozen=True)
class Deblurred:
    """A sharp picture, and how it came about.

    Args:
        image: of the kind, shape and dtype that came in.
        labels: label map (L, H, W) that the network was given; None if it takes no masks.
        kernel: (h, w) float32, not negative, sum 1: the blur of the whole picture as the network sees it (a code
            rather than a picture of it after joint training); None for networks that find none.
        seconds: masks, network and guard took.
        mask_seconds: of these, the masks.
        tile: side of the tiles in pixels; None if the picture was restored whole.
        finding: the collapse that was found in the first attempt; None if there was none, or nobody looked.
        remedy: what became of it, in words; empty without one.
        repaired: share of the picture that shows the input, because every attempt collapsed there.
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
        """What the user has to know about the result; empty if all is well."""
        return f'{self.finding.text()}; {self.remedy}' if self.finding else ''


class Deblurrer:
    """A network that deblurs pictures of any size and kind, with masks that it makes itself.

    Calls from several threads take turns.

    Args:
        net: of :func:`~basicsr.archs.build_network`, for RGB pictures in [0, 1]; put into evaluation mode.
        name: of the network, for messages.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        dtype: ``fp32``; ``bf16`` for the products inside the network; ``auto`` is bf16 where it is faster and known to
            change results by less than 50 dB: networks of NAFNet blocks on GPUs and CPUs with bf16 units.
        masks: used where a call gives none: ``auto`` asks the generator, ``none`` is one region.
        generator: what makes masks: a name, a block (``type`` and arguments), or the generator itself.
        cache: where made masks are kept for the next time; None keeps none.
        tile: side of tiles in pixels; ``auto`` cuts what does not fit into the memory, None never cuts.
        self_ensemble: the mean over the eight flips and rotations of the picture: eight times the time.
        guard: what happens when the output departs from the input as a collapse does. ``repair`` tries other tiles,
            then no masks, and where all attempts collapse shows the input; ``refuse`` raises; ``warn`` only says so
            (values that are no numbers still become the input's); ``off`` does not look.

    Raises:
        OptionError: no such device, or a value that does not exist.
        WeightsError: the network takes no ordinary pictures.
        UnknownNameError: no such generator.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        name: str = '',
        device: str = 'auto',
        dtype: Dtype = 'auto',
        masks: Literal['auto', 'none'] = 'auto',
        generator: str | Mapping[str, Any] | MaskGenerator = 'felzenszwalb',
        cache: MaskCache | None = None,
        tile: Tile = 'auto',
        self_ensemble: bool = False,
        guard: GuardMode = 'repair',
    ) -> None:
        _check_choice('dtype', dtype, ('auto', 'fp32', 'bf16'))
        _check_choice('masks', masks, ('auto', 'none'))
        _check_choice('guard', guard, ('repair', 'refuse', 'warn', 'off'))
        self.name = name or type(net).__name__
        self._network = PhotoNetwork(net, self.name, select_device(device), dtype, self_ensemble)
        self.masks, self.cache = masks, cache
        self.tile, self.guard = tile, guard
        self._generator = generator
        self._lock = threading.Lock()

    @classmethod
    def load(cls, name_or_path: str | Path | None = None, **arguments: Any) -> Deblurrer:
        """A deblurrer with the network of a file.

        Args:
            name_or_path: a network file, or the stem of one in ``experiments/pretrained_models`` such as
                ``analysis-synthesis``; None is the network that comes with the repository.
            **arguments: of the class: ``device``, ``dtype``, ``masks``, ``generator``, ``tile``, ...

        Raises:
            WeightsError: missing, damaged, of an unknown network, or not for ordinary pictures.
            UnsafeWeightsError: the file holds objects that could run code; it was not loaded.
            OptionError: no such device, or a value that does not exist.
        """
        path = find_weights(name_or_path)
        return cls(load_network(path), **{'name': path.stem, **arguments})

    @property
    def net(self) -> nn.Module:
        """The network."""
        return self._network.net

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._network.device

    @property
    def dtype(self) -> Literal['fp32', 'bf16']:
        """The arithmetic that ``dtype`` meant."""
        return self._network.dtype

    @property
    def takes_masks(self) -> bool:
        """Whether the network looks at masks; those of others are left alone."""
        return self._network.prior != 'none'

    @property
    def finds_kernel(self) -> bool:
        """Whether the network finds the blur kernel of a picture."""
        return contract_of(self.net).kernel_role == 'finds'

    @property
    def generator(self) -> MaskGenerator:
        """What makes masks; built when it is first asked for.

        Raises:
            UnknownNameError: no such generator.
            WeightsError: its weights cannot be read.
        """
        if isinstance(self._generator, str):
            self._generator = {'type': self._generator}
        if isinstance(self._generator, Mapping):
            self._generator = build_generator(self._generator)
        return self._generator

    def __call__(self, image: Any, masks: MasksLike = None) -> Any:
        """Deblur one picture, or a batch of them as a tensor (then with one mask argument for all).

        Args:
            image: numpy (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) RGB[A], uint8, uint16 or float in [0, 1]; a PIL
                picture; a tensor (C, H, W) or (B, C, H, W), uint8 or float in [0, 1]. Alpha is kept as it is, the
                colours under it are deblurred.
            masks: see :meth:`deblur`.

        Returns:
            the same kind, shape, dtype and device; float values within [0, 1].

        Raises:
            as :meth:`deblur`.
        """
        arrays, back = arrays_of(image)
        return back([self._deblur(array, masks).image for array in arrays])

    def deblur(
        self,
        image: Any,
        masks: MasksLike = None,
        *,
        mask_dropout: float = 0.0,
        mask_value: float | None = None,
        seed: int = 0,
    ) -> Deblurred:
        """Deblur one picture, and say how.

        Args:
            image: see :meth:`__call__`; one picture.
            masks: None is what the class was told; ``'auto'`` masks of the generator, ``'none'`` one region (as if all
                masks were dropped); a label map (L, H, W) or (H, W) of integers; boolean masks (M, H, W) or
                (M, 1, H, W); or the path of a mask file.
            mask_dropout: share of the masks to drop, 0 to 1.
            mask_value: what a covered pixel weighs, in place of what the network was trained with; (0, 1].
            seed: of the choice of masks to drop.

        Raises:
            ShapeError: no picture, several, or too small for the network.
            MaskError: masks of another size, or none that can be read.
            ArgumentError: the tiles are too small for the network, or a share is none.
            WeightsError: with ``guard='refuse'``, the network collapsed.
            RuntimeError: not even the smallest tiles fit into the memory.
        """
        arrays, back = arrays_of(image)
        if len(arrays) != 1:
            raise ShapeError(f'one picture at a time is deblurred here, got {len(arrays)}')
        if not 0 <= mask_dropout <= 1:
            raise ArgumentError(f'mask_dropout is a share from 0 to 1, got {mask_dropout}')
        done = self._deblur(arrays[0], masks, mask_dropout, mask_value, seed)
        return replace(done, image=back([done.image]))

    def make_masks(self, image: Array) -> tuple[Array, bool]:
        """The masks that ``'auto'`` means for a picture, and whether they were in the cache.

        Args:
            image: (H, W, 1) or (H, W, 3), uint8, uint16 or float32 in [0, 1].

        Returns:
            label map (L, H, W).
        """
        seen = eight_bits(image)
        if self.cache is not None:
            return self.cache.masks(self.generator, seen)
        return self.generator(seen), False

    def _deblur(
        self,
        image: Array,
        masks: MasksLike,
        mask_dropout: float = 0.0,
        mask_value: float | None = None,
        seed: int = 0,
    ) -> Deblurred:
        self._check_size(image)
        start = time.perf_counter()
        labels = self._labels(image, self.masks if masks is None else masks)
        if labels is not None and mask_dropout:
            labels = drop_masks(torch.from_numpy(labels)[None], mask_dropout, [seed])[0].numpy()
        made = time.perf_counter()
        white = float(np.iinfo(image.dtype).max) if image.dtype != np.float32 else 1.0
        lq = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None].to(self.device) / white
        lq = lq.expand(1, 3, -1, -1) if image.shape[2] == 1 else lq
        network = self._network
        with self._lock, network.weighing(mask_value):
            outcome = restore_guarded(network.restore, lq, labels, self.tile, self.guard, self.name)
        restored = outcome.restored
        output = restored.image
        if image.shape[2] == 1:
            output = output.mean(1, keepdim=True)
        array = tensor2img(output, rgb2bgr=False, out_type=image.dtype.type).reshape(image.shape)
        return Deblurred(
            array,
            labels,
            None if restored.kernel is None else restored.kernel[0].float().cpu().numpy(),
            time.perf_counter() - start,
            made - start,
            restored.tile,
            outcome.finding,
            outcome.remedy,
            outcome.repaired,
        )

    def _labels(self, image: Array, masks: MasksLike) -> Array | None:
        """The label map (L, H, W) int32 that the network is given; None if it takes no masks."""
        if not self.takes_masks:
            return None
        size = image.shape[0], image.shape[1]
        if isinstance(masks, Tensor):
            masks = masks.cpu().numpy()
        if isinstance(masks, np.ndarray):
            labels = label_map_from_masks(masks) if masks.dtype == np.bool_ else check_label_map(masks)
        elif masks == 'auto':
            labels, _ = self.make_masks(image)
        elif masks == 'none' or masks is None:
            labels = np.zeros((1, *size), np.int32)
        elif isinstance(masks, (str, Path)):
            labels = read_masks(masks, size)
        else:
            raise MaskError(f"masks are 'auto', 'none', an array or a file, not a {type(masks).__name__}")
        if labels.shape[1:] != size:
            raise MaskError(f'the masks have {labels.shape[1:]} pixels (H, W), the picture {size}')
        return np.ascontiguousarray(labels, np.int32)

    def _check_size(self, image: Array) -> None:
        """Networks that find a kernel need room for it; all others take any size."""
        if not self.finds_kernel:
            return
        net: Any = self.net
        (height, width), least = image.shape[:2], net.input_rule.minimum
        if height < least[0] or width < least[1]:
            size = net.analysis.kernel_size
            raise ShapeError(
                f'{height}×{width} pixels are too few to find a blur kernel of {size[0]}×{size[1]}: '
                f'{least[0]}×{least[1]} are needed'
            )


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f'{key} is {" or ".join(choices)}, not {value!r}')
