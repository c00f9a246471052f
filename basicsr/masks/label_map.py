"""Label maps from overlapping binary masks, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError


def packer_for_file(mask_size: tuple[int, int], image_size: tuple[int, int] | None) -> LayerPacker:
    """A packer for masks that come from a file, which may be small and fill the memory all the same.

    Args:
        mask_size: (H, W) of the masks.
        image_size: of their image; masks of an image that is not known get 2^26 entries, others 16 layers at least.
    """
    most = 2**26
    return LayerPacker(mask_size, most if image_size is None else max(most, 16 * mask_size[0] * mask_size[1]))


def label_map_from_masks(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Pack binary masks into few layers of disjoint regions; nothing is lost where they overlap.

    Mask i gets the id i + 1, in the first layer where it touches no earlier mask. Masks without a pixel keep their
    id, which then occurs nowhere.

    Args:
        masks: boolean, (M, H, W) or (M, 1, H, W).

    Returns:
        label map (L, H, W), L ≥ 1.

    Raises:
        MaskError: wrong shape or dtype.
    """
    masks = check_masks(masks)
    packer = LayerPacker((masks.shape[1], masks.shape[2]))
    for number, mask in enumerate(masks, start=1):
        packer.add(number, mask)
    return packer.labels()


class LayerPacker:
    """Packs binary masks one after another into few layers; see :func:`label_map_from_masks`.

    Args:
        size: (H, W).
        most: entries of the label map at most; None takes any number.
    """

    def __init__(self, size: tuple[int, int], most: int | None = None) -> None:
        self.size, self.most = size, most
        self._layers = [np.zeros(size, np.int32)]

    def add(self, number: int, mask: NDArray[np.bool_]) -> bool:
        """Add a mask (H, W) under an id; False if it has no pixel.

        Raises:
            MaskError: the masks overlap in too many layers.
        """
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            return False
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        pixels = mask[box]
        free = (layer for layer in self._layers if not np.logical_and(layer[box], pixels).any())
        layer = next(free, None)
        if layer is None:
            if self.most is not None and (len(self._layers) + 1) * self.size[0] * self.size[1] > self.most:
                raise MaskError(f'the masks overlap in more than {len(self._layers)} layers; leave some out')
            layer = np.zeros(self.size, np.int32)
            self._layers.append(layer)
        layer[box][pixels] = number
        return True

    def labels(self) -> NDArray[np.int32]:
        """The label map (L, H, W), L ≥ 1; the last call."""
        labels = np.empty((len(self._layers), *self.size), np.int32)
        for index in reversed(range(len(labels))):
            labels[index] = self._layers.pop()  # so that not all of them are there twice
        return labels


def masks_from_label_map(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """The binary masks of a label map, in the order of their ids.

    Args:
        labels: integers (L, H, W), or (H, W) for one layer.

    Returns:
        boolean stack (M, 1, H, W) with one plane for each id that occurs.

    Raises:
        MaskError: wrong shape or dtype, or negative labels.
    """
    labels = check_label_map(labels)
    ids = np.unique(labels)
    planes = [(labels == number).any(0) for number in ids[ids > 0]]
    return np.stack(planes)[:, None] if planes else np.zeros((0, 1, *labels.shape[1:]), np.bool_)


def compact(labels: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Renumber the ids that occur to 1, 2, ... in ascending order, in uint8 where they fit, else int32.

    Region means and mask dropout depend on the order of the ids only, so nothing but bytes changes.

    Args:
        labels: label map (L, H, W), or (H, W).

    Returns:
        label map (L, H, W).
    """
    labels = check_label_map(labels)
    ids, inverse = np.unique(labels, return_inverse=True)
    inverse = inverse.reshape(labels.shape)
    if not ids.size or ids[0] != 0:
        inverse = inverse + 1
    return inverse.astype(np.uint8 if inverse.size == 0 or inverse.max() <= 255 else np.int32)


def check_label_map(labels: NDArray[Any]) -> NDArray[Any]:
    """The label map as (L, H, W).

    Raises:
        MaskError: no integers, wrong number of dimensions, or negative labels.
    """
    labels = labels[None] if labels.ndim == 2 else labels
    if labels.ndim != 3 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise MaskError(f'a label map holds integers (L, H, W), got {labels.dtype} {labels.shape}')
    if labels.size and labels.min() < 0:
        raise MaskError(f'labels are 0 (no mask) or positive, the smallest here is {labels.min()}')
    return labels


def check_masks(masks: NDArray[Any]) -> NDArray[np.bool_]:
    """The binary masks as (M, H, W).

    Raises:
        MaskError: not boolean, or neither (M, H, W) nor (M, 1, H, W).
    """
    masks = masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise MaskError(f'masks are boolean (M, H, W) or (M, 1, H, W), got {masks.dtype} {masks.shape}')
    return masks
