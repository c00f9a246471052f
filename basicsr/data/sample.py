"""A sample: image, ground truth and masks in one object, so that one call crops and flips them together."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from basicsr.images.arrays import Array
from basicsr.utils.errors import ShapeError


@dataclass(frozen=True)
class Sample:
    """One image with ground truth and masks; every method returns a new sample and leaves this one unchanged.

    Args:
        lq: (H, W, C) RGB, the blurred image, uint8 or uint16.
        lq_path: its path.
        gt: the sharp image in the same form; None if there is none.
        gt_path: its path; '' if there is none.
        masks: label map (L, H, W), or the gray plane (1, H, W) of the CAT method; None without masks.
        is_gray: ``masks`` is a gray plane; the original flips it with the image even where it rotates mask stacks.
        views: images in the channels of ``lq``: 1, or 3 for left, right and centre of a dual-pixel camera.
    """

    lq: Array
    lq_path: str
    gt: Array | None = None
    gt_path: str = ''
    masks: Array | None = None
    is_gray: bool = False
    views: int = 1

    def __post_init__(self) -> None:
        size = self.lq.shape[:2]
        if self.lq.ndim != 3 or (
            self.gt is not None and (*self.gt.shape[:2], self.gt.shape[2] * self.views) != self.lq.shape
        ):
            other = None if self.gt is None else self.gt.shape
            raise ShapeError(
                f'{self.lq_path} is {self.lq.shape} and {self.gt_path} {other}; they must have the same shape'
            )
        if self.masks is not None and self.masks.shape[1:] != size:
            raise ShapeError(f'the masks of {self.lq_path} have {self.masks.shape[1:]} pixels, the image {size}')

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width."""
        return self.lq.shape[0], self.lq.shape[1]

    def padded(self, least: int) -> Sample:
        """Pad to at least ``least`` pixels per side, below and to the right, by symmetric reflection."""
        below, right = (max(0, least - side) for side in self.size)
        if not below and not right:
            return self
        edges, none = ((0, below), (0, right)), (0, 0)
        return self._each(
            lambda image: np.pad(image, (*edges, none), 'symmetric'),
            lambda masks: np.pad(masks, (none, *edges), 'symmetric'),
        )

    def crop(self, top: int, left: int, height: int, width: int) -> Sample:
        """Return the window with this upper left corner."""
        rows, columns = slice(top, top + height), slice(left, left + width)
        return self._each(lambda image: image[rows, columns], lambda masks: masks[:, rows, columns])

    def flip_horizontally(self) -> Sample:
        """Flip left and right, and swap the left and right views: disparity has a sign."""
        flipped = self._each(lambda image: image[:, ::-1], lambda masks: masks[..., ::-1])
        if self.views == 1:
            return flipped
        left, right, centre = np.split(flipped.lq, 3, axis=2)
        return replace(flipped, lq=np.concatenate([right, left, centre], 2))

    def reverse_channels(self) -> Sample:
        """Swap red and blue in every view."""
        gt = None if self.gt is None else self.gt[..., ::-1]
        views = [view[..., ::-1] for view in np.split(self.lq, self.views, axis=2)]
        return replace(self, lq=views[0] if self.views == 1 else np.concatenate(views, 2), gt=gt)

    def flip_vertically(self) -> Sample:
        """Flip top and bottom."""
        return self._each(lambda image: image[::-1], lambda masks: masks[:, ::-1])

    def transpose(self, misaligned: bool = False) -> Sample:
        """Swap rows and columns.

        Args:
            misaligned: rotate label maps by 90 degrees counter-clockwise instead, as the original does by mistake.
        """
        turn_masks = misaligned and not self.is_gray
        return self._each(
            lambda image: image.swapaxes(0, 1),
            lambda masks: np.rot90(masks, axes=(1, 2)) if turn_masks else masks.swapaxes(1, 2),
        )

    def as_item(self, mask_seed: int = 0) -> dict[str, Any]:
        """Return ``dataset[i]``: integer tensors ``lq``, ``gt`` (C, H, W) RGB, ``masks`` (L, H, W), paths and seed.

        Args:
            mask_seed: seeds the mask dropout of this sample.
        """
        item: dict[str, Any] = {'lq': _tensor(self.lq.transpose(2, 0, 1)), 'lq_path': self.lq_path}
        if self.gt is not None:
            item |= {'gt': _tensor(self.gt.transpose(2, 0, 1)), 'gt_path': self.gt_path}
        if self.masks is not None:
            item['masks'] = _tensor(self.masks)
        return item | {'mask_seed': mask_seed}

    def _each(self, image: Any, masks: Any) -> Sample:
        gt = None if self.gt is None else image(self.gt)
        return replace(self, lq=image(self.lq), gt=gt, masks=None if self.masks is None else masks(self.masks))


class SeededDraws:
    """Draws that depend on (seed, epoch, index) alone, not on workers, processes or earlier draws."""

    def __init__(self, seed: int, epoch: int, index: int) -> None:
        self._generator = np.random.default_rng([seed, epoch, index])

    def below(self, end: int) -> int:
        """Draw an integer from 0 to ``end`` inclusive."""
        return int(self._generator.integers(end + 1))

    def coin(self) -> bool:
        """Draw True or False with equal probability."""
        return bool(self._generator.random() < 0.5)


class ReferenceDraws:
    """The original's draws, from Python's ``random`` module and its state."""

    def below(self, end: int) -> int:
        """Draw an integer from 0 to ``end`` inclusive."""
        return random.randint(0, end)  # noqa: S311

    def coin(self) -> bool:
        """Draw True or False with equal probability."""
        return random.random() < 0.5  # noqa: S311


Draws = SeededDraws | ReferenceDraws
"""Source of the random numbers of an augmentation."""


def random_crop(sample: Sample, size: int, draws: Draws) -> Sample:
    """Return a random square of a sample.

    Args:
        sample: it is padded first if it is smaller than the square.
        size: side in pixels.
        draws: source of the numbers: row, then column.
    """
    sample = sample.padded(size)
    top, left = (draws.below(side - size) for side in sample.size)
    return sample.crop(top, left, size, size)


def turn(
    sample: Sample,
    draws: Draws,
    use_flip: bool,
    use_rot: bool,
    use_vflip: bool = False,
    use_channels: bool = False,
    misaligned: bool = False,
) -> Sample:
    """Flip and transpose at random.

    Args:
        sample: any size.
        draws: source of the coins, one for each enabled option below (two for ``use_rot``), in order.
        use_flip: flip left and right.
        use_rot: flip top and bottom, then swap rows and columns.
        use_vflip: flip top and bottom if ``use_rot`` is off.
        use_channels: reverse the order of the colours.
        misaligned: see :meth:`Sample.transpose`.
    """
    horizontal, vertical = (use and draws.coin() for use in (use_flip, use_rot or use_vflip))
    transposed, reversed_ = (use and draws.coin() for use in (use_rot, use_channels))
    if horizontal:
        sample = sample.flip_horizontally()
    if vertical:
        sample = sample.flip_vertically()
    if transposed:
        sample = sample.transpose(misaligned)
    return sample.reverse_channels() if reversed_ else sample


def _tensor(array: Array) -> torch.Tensor:
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
