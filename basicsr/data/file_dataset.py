"""What the data sets of image files share: reading samples, random draws by (seed, epoch, index), items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from basicsr.data.pairing import Pairing, find_masks, find_pairs, how_to_make_gray, how_to_make_masks
from basicsr.data.sample import Draws, ReferenceDraws, Sample, SeededDraws, random_crop, turn
from basicsr.data.stores.base import IoBackend, Store
from basicsr.data.stores.opening import open_store
from basicsr.images.files import Bits, with_bits
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.utils.errors import ArgumentError, DataError

Phase = Literal['train', 'val', 'test']
Channels = Literal[1, 3]


@dataclass(frozen=True)
class Augmentation:
    """How training samples are cut and turned, and where their random numbers come from.

    Args:
        phase: 'train' crops and flips; the others return the whole image.
        gt_size: side of the crops in pixels; None leaves images whole.
        use_flip: exchange left and right at random.
        use_rot: exchange top and bottom, and rows and columns, at random.
        seed: of all draws.
        reference: draw from Python's ``random`` as the original does, and rotate region masks as it does by mistake.
        use_vflip: exchange top and bottom at random, where ``use_rot`` is not in use.
        use_channels: reverse the order of the colours at random.
    """

    phase: Phase
    gt_size: int | None
    use_flip: bool
    use_rot: bool
    seed: int
    reference: bool = False
    use_vflip: bool = False
    use_channels: bool = False

    def __post_init__(self) -> None:
        if self.phase not in get_args(Phase):
            raise ArgumentError(f"phase is 'train', 'val' or 'test', not {self.phase!r}")
        if (self.gt_size is not None and self.gt_size < 1) or self.seed < 0:
            raise ArgumentError(f'gt_size is at least 1 and seed at least 0, got {self.gt_size} and {self.seed}')

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        """The sample as the network gets it."""
        if self.phase != 'train':
            return sample
        draws: Draws = ReferenceDraws() if self.reference else SeededDraws(self.seed, epoch, index)
        if self.gt_size is not None:
            sample = random_crop(sample, self.gt_size, draws)
        return turn(sample, draws, self.use_flip, self.use_rot, self.use_vflip, self.use_channels, self.reference)


class ImageFileDataset(Dataset[dict[str, Any]]):
    """A data set whose samples come from files; ``dataset[i]`` depends on (seed, epoch, i) alone.

    In reference mode the draws come from Python's ``random`` instead, and depend on its state.

    Args:
        names: of the samples: the path of the blurred image below its folder, without extension.
        augmentation: what becomes of a sample.
    """

    gray_masks: ClassVar[bool] = False
    """Whether ``masks`` is a gray picture (CAT) and no label map."""

    def __init__(self, names: Sequence[str], augmentation: Augmentation) -> None:
        self.augmentation = augmentation
        self.names = list(names)
        self.groups: tuple[str, ...] = ()  # of the images, where they are scored apart
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change

    @property
    def phase(self) -> Phase:
        """'train', 'val' or 'test'."""
        return self.augmentation.phase

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of the next samples; workers that are running already take it over."""
        self._epoch.fill_(epoch)

    def sample(self, index: int) -> Sample:
        """The whole sample as it lies on disk; ``index`` is 0 to ``len(self) - 1``."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """``lq``, ``gt`` uint8 or uint16 (C, H, W) RGB, ``masks`` integers (L, H, W), paths, ``mask_seed``."""
        index = range(len(self.names))[index]  # counts from the end where negative; IndexError beyond
        epoch = int(self._epoch)
        sample = self.augmentation(self.sample(index), epoch, index)
        return sample.as_item(mask_seed(self.augmentation.seed, epoch, index))


@dataclass(frozen=True)
class ImagePairs:
    """Blurred and sharp images by number.

    Args:
        gt: store of the sharp images.
        lq: store of the blurred images.
        keys: (key in ``gt``, key in ``lq``) of each pair.
        channels: 3 turns gray files into RGB, 1 turns colours into gray.
        bits: what the files have to hold; see ``decode_image``.
    """

    gt: Store
    lq: Store
    keys: Sequence[tuple[str, str]]
    channels: Channels
    bits: Bits = None

    @property
    def names(self) -> list[str]:
        """Of the blurred images: the path below their folder, without extension."""
        return [self.lq.stem(key) for _, key in self.keys]

    def read(self, index: int) -> Sample:
        """The pair as a sample without masks.

        Raises:
            ImageFileError: a file is no image, or cut off.
            ShapeError: the two differ in size; both are named.
        """
        gt_key, lq_key = self.keys[index]
        lq, lq_path = read_image(self.lq, lq_key, self.channels, self.bits)
        gt, gt_path = read_image(self.gt, gt_key, self.channels, self.bits)
        return Sample(lq, lq_path, gt, gt_path)


def open_pairs(
    dataroot_gt: str,
    dataroot_lq: str,
    filename_tmpl: str,
    meta_info_file: str | None,
    pairing: Pairing,
    io_backend: IoBackend,
    channels: Channels,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    bits: Bits = None,
) -> ImagePairs:
    """The pairs that the arguments of a data set describe (see ``PairedImageDataset``)."""
    if mean is not None or std is not None:
        raise ArgumentError('mean and std stay null: images travel as integers and become [0, 1] on the device')
    check_channels(channels)
    gt, lq = open_store(dataroot_gt, io_backend), open_store(dataroot_lq, io_backend)
    return ImagePairs(gt, lq, find_pairs(gt, lq, pairing, filename_tmpl, meta_info_file), channels, bits)


def open_masks(dataroot_mask: str, io_backend: IoBackend, lq: Store, keys: Sequence[str]) -> tuple[Store, list[str]]:
    """The label maps or stacks of the blurred images ``keys``.

    Raises:
        DataError: masks are missing; the message says how to make them.
    """
    return _open_masks(dataroot_mask, io_backend, lq, keys, MASK_SUFFIXES, how_to_make_masks)


def open_gray(dataroot_mask: str, io_backend: IoBackend, lq: Store, keys: Sequence[str]) -> tuple[Store, list[str]]:
    """The gray pictures of the blurred images ``keys``.

    Raises:
        DataError: some are missing; the message says how to make them.
    """
    return _open_masks(dataroot_mask, io_backend, lq, keys, ('.png',), how_to_make_gray)


def _open_masks(
    dataroot_mask: str,
    io_backend: IoBackend,
    lq: Store,
    keys: Sequence[str],
    suffixes: tuple[str, ...],
    how_to_make: Callable[[Path, Path], str],
) -> tuple[Store, list[str]]:
    advice = how_to_make(lq.root, Path(dataroot_mask).expanduser())
    try:
        masks = open_store(dataroot_mask, io_backend, suffixes)
    except DataError as error:
        raise DataError(f'{error}\n{advice}') from error
    return masks, find_masks(lq, keys, masks, advice)


def read_image(store: Store, key: str, channels: Channels, bits: Bits = None) -> tuple[NDArray[Any], str]:
    """An image (H, W, C) RGB, uint8 or uint16, and its path."""
    path = store.path(key)
    return with_bits(store.image(key, channels), bits, path), path


def check_channels(channels: int) -> None:
    """Refuse anything but gray and RGB."""
    if channels not in get_args(Channels):
        raise ArgumentError(f'channels is 1 (gray) or 3 (RGB), not {channels!r}')


def mask_seed(seed: int, epoch: int, index: int) -> int:
    """Seeds the mask dropout of one sample; independent of the draws of its crop. 0 to 2^63 - 1."""
    state = np.random.SeedSequence([seed, epoch, index], spawn_key=(1,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
