"""Base class of data sets of image files: read samples, draw by (seed, epoch, index), return items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from basicsr.data.sample import Draws, ReferenceDraws, Sample, SeededDraws, random_crop, turn
from basicsr.data.stores.base import Store
from basicsr.images.files import Bits, with_bits

Phase = Literal['train', 'val', 'test']
Channels = Literal[1, 3]


@dataclass(frozen=True)
class Augmentation:
    """Random crops and flips of training samples.

    Args:
        phase: 'train' crops and flips; the others return the whole image.
        gt_size: side of the crops in pixels; None leaves images whole.
        use_flip: flip horizontally at random.
        use_rot: flip vertically and transpose at random.
        seed: seed of all draws.
        reference: draw from Python's ``random`` as the original does, and rotate region masks as it does by mistake.
        use_vflip: flip vertically at random if ``use_rot`` is off.
        use_channels: reverse the order of the channels at random.
    """

    phase: Phase
    gt_size: int | None
    use_flip: bool
    use_rot: bool
    seed: int
    reference: bool = False
    use_vflip: bool = False
    use_channels: bool = False

    def __call__(self, sample: Sample, epoch: int, index: int) -> Sample:
        """Return the sample as the network gets it."""
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
        names: names of the samples: paths of the blurred images below their folder, without extension.
        augmentation: crops and flips of the samples.
    """

    gray_masks = False
    """Whether ``masks`` is a gray image (CAT) instead of a label map."""

    def __init__(self, names: Sequence[str], augmentation: Augmentation) -> None:
        self.augmentation = augmentation
        self.names = list(names)
        self.groups: tuple[str, ...] = ()  # of the images, where they are scored apart
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change

    @property
    def phase(self) -> Phase:
        """Return 'train', 'val' or 'test'."""
        return self.augmentation.phase

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of the next samples; workers that are running already take it over."""
        self._epoch.fill_(epoch)

    def sample(self, index: int) -> Sample:
        """Read the whole sample; ``index`` is 0 to ``len(self) - 1``."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return ``lq``, ``gt`` uint8 or uint16 (C, H, W) RGB, ``masks`` integers (L, H, W), paths, ``mask_seed``."""
        index = range(len(self.names))[index]  # counts from the end where negative; IndexError beyond
        epoch = int(self._epoch)
        sample = self.augmentation(self.sample(index), epoch, index)
        return sample.as_item(mask_seed(self.augmentation.seed, epoch, index))


def read_image(store: Store, key: str, channels: Channels, bits: Bits = None) -> tuple[NDArray[Any], str]:
    """Read an image (H, W, C) RGB, uint8 or uint16; return it with its path."""
    path = store.path(key)
    return with_bits(store.image(key, channels), bits, path), path


def mask_seed(seed: int, epoch: int, index: int) -> int:
    """Return the seed of the mask dropout of one sample, 0 to 2^63 - 1, independent of the draws of its crop."""
    state = np.random.SeedSequence([seed, epoch, index], spawn_key=(1,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
