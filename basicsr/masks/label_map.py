"""Convert overlapping binary masks to label maps, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError


def label_map_from_masks(masks: NDArray[Any]) -> NDArray[np.int32]:
    """Pack binary masks into few layers of disjoint regions, without loss where they overlap.

    Mask i gets the id i + 1, in the first layer where it touches no earlier mask. The id of an empty mask is not used.

    Args:
        masks: boolean, (M, H, W) or (M, 1, H, W).

    Returns:
        label map (L, H, W), L ≥ 1.

    Raises:
        MaskError: wrong shape or dtype.
    """
    masks = masks[:, 0] if masks.ndim == 4 and masks.shape[1] == 1 else masks
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise MaskError(f'masks are boolean (M, H, W) or (M, 1, H, W), got {masks.dtype} {masks.shape}')
    named = ((number, f'mask {number - 1}', mask) for number, mask in enumerate(masks, start=1))
    return pack_masks(named, 'masks', None, (masks.shape[1], masks.shape[2]), allow_empty=True, limited=False)


def pack_masks(
    masks: Iterable[tuple[int, str, NDArray[np.bool_]]],
    name: str,
    image_size: tuple[int, int] | None,
    mask_size: tuple[int, int] | None = None,
    allow_empty: bool = False,
    limited: bool = True,
) -> NDArray[np.int32]:
    """Pack binary masks one after another into few layers; see :func:`label_map_from_masks`.

    Args:
        masks: id, name for error messages, and mask (H, W) of each.
        name: name of their file.
        image_size: (H, W) of the image, if known.
        mask_size: (H, W) of the masks, if known.
        allow_empty: accept empty masks, and files without masks.
        limited: limit the memory, which a small file could fill: the label map has at most 2^26 entries or 16 layers,
            and at most 2^26 entries if the image is unknown.

    Returns:
        label map (L, H, W), L ≥ 1.

    Raises:
        MaskError: a mask is empty or of a different size, there are none, or they overlap in too many layers.
    """
    layers = [] if mask_size is None else [np.zeros(mask_size, np.int32)]
    for number, mask_name, mask in masks:
        layers = layers or [np.zeros(mask.shape, np.int32)]
        if mask.shape != layers[0].shape:
            raise MaskError(f'{mask_name}: has {mask.shape} pixels (H, W), the others {layers[0].shape}')
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            if not allow_empty:
                raise MaskError(f'{mask_name}: is empty; leave it out')
            continue
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        pixels = mask[box]
        layer = next((layer for layer in layers if not np.logical_and(layer[box], pixels).any()), None)
        if layer is None:
            most = max(2**26, 0 if image_size is None else 16 * mask.size)
            if limited and (len(layers) + 1) * mask.size > most:
                raise MaskError(f'{mask_name}: the masks overlap in more than {len(layers)} layers; leave some out')
            layer = np.zeros(mask.shape, np.int32)
            layers.append(layer)
        layer[box][pixels] = number
        del mask, pixels  # before the next one is allocated
    if not layers:
        raise MaskError(f'{name}: contains no masks')
    labels = np.empty((len(layers), *layers[0].shape), np.int32)
    for index in reversed(range(len(labels))):
        labels[index] = layers.pop()  # frees each layer once it is copied
    return labels


def masks_from_label_map(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return the binary masks of a label map, in the order of their ids.

    Args:
        labels: integers (L, H, W), or (H, W) for one layer.

    Returns:
        boolean stack (M, 1, H, W) with one plane for each existing id.

    Raises:
        MaskError: wrong shape or dtype, or negative labels.
    """
    labels = check_label_map(labels)
    ids = np.unique(labels)
    planes = [(labels == number).any(0) for number in ids[ids > 0]]
    return np.stack(planes)[:, None] if planes else np.zeros((0, 1, *labels.shape[1:]), np.bool_)


def compact(labels: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """Renumber existing ids to 1, 2, ... in ascending order, in uint8 if they fit, else int32.

    Region means and mask dropout only depend on the order of the ids, so results do not change.

    Args:
        labels: label map (L, H, W), or (H, W).

    Returns:
        label map (L, H, W).
    """
    labels = check_label_map(labels)
    largest = int(labels.max(initial=0))
    if largest > labels.size + 2**16:  # a table of all ids would be larger than the map
        ids, inverse = np.unique(labels, return_inverse=True)
        inverse = inverse.reshape(labels.shape) + int(ids[0] != 0)
        return inverse.astype(np.uint8 if inverse.max() <= 255 else np.int32)
    exists = np.zeros(largest + 1, bool)
    exists[labels] = True
    exists[0] = False
    table = np.where(exists, exists.cumsum(), 0)
    renumbered: NDArray[np.integer[Any]] = table.astype(np.uint8 if table.max() <= 255 else np.int32)[labels]
    return renumbered


def check_label_map(labels: NDArray[Any]) -> NDArray[Any]:
    """Check a label map, and return it as (L, H, W).

    Raises:
        MaskError: not integers, wrong number of dimensions, or negative labels.
    """
    labels = labels[None] if labels.ndim == 2 else labels
    if labels.ndim != 3 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise MaskError(f'a label map must be integers (L, H, W), got {labels.dtype} {labels.shape}')
    if labels.size and labels.min() < 0:
        raise MaskError(f'labels must be 0 (no mask) or positive; the smallest is {labels.min()}')
    return labels


def small_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the label map in uint8 if its ids fit; larger ids are renumbered first."""
    if labels.dtype == np.uint8:
        return labels
    return labels.astype(np.uint8) if labels.max(initial=0) <= 255 else compact(labels)


def resized_label_map(labels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return a label map (L, H, W) with another height and width; each pixel takes the label of the nearest one."""
    rows, columns = ((np.arange(new) + 0.5) * old // new for new, old in zip(size, labels.shape[1:], strict=True))
    return labels[:, rows.astype(int)[:, None], columns.astype(int)]
