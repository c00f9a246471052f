"""Code masks as one 8-bit image: as SAM-Deblur bit for bit, or with the least loss that 8 bits allow.

The CAT method passes this gray mask to the network as a fourth channel; SAM-Deblur stores all masks this way.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.masks.label_map import compact, label_map_from_masks
from basicsr.utils.errors import MaskError

logger = logging.getLogger(__name__)

CODES = 255  # gray values for masks; 0 is no mask


def gray_from_masks(masks: NDArray[Any], mode: Literal['fixed', 'reference'] = 'fixed') -> NDArray[np.uint8]:
    """Draw masks into one gray image.

    Mask i (from 0) has the code 2(i + 1) for i < 127, then 255, 253, ..., 1. ``reference`` adds the codes of
    overlapping masks in float32 and clips the sum, as in SAM-Deblur: an intersection may have the code of a third mask
    or saturate, and masks beyond the 255th have negative codes. ``fixed`` assigns a pixel to the smallest mask that
    covers it, and keeps only the 255 largest masks.

    Args:
        masks: boolean, (M, H, W) or (M, 1, H, W), in the order of their generator.
        mode: ``fixed`` or ``reference``.

    Returns:
        (H, W) uint8; all zero without masks.

    Raises:
        MaskError: wrong shape, dtype or mode.
    """
    labels = label_map_from_masks(masks)
    return _gray(labels, len(masks), mode)


def masks_from_gray(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Split a gray image into one mask for each of its values, ascending, including the background (0).

    The masks are a partition of the image (``grouped_masks`` in SAM-Deblur).

    Args:
        gray: (H, W) uint8.

    Returns:
        boolean (M, 1, H, W).

    Raises:
        MaskError: not 8-bit, or not two-dimensional.
    """
    gray = _check_gray(gray)
    return np.stack([gray == value for value in np.unique(gray)])[:, None]


def label_map_from_gray(gray: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the same partition as a label map (1, H, W): the lowest gray value becomes region 1."""
    there = cv2.calcHist([_check_gray(gray)], [0], None, [256], [0, 256]).ravel() > 0
    ids = np.cumsum(there).astype(np.int32)
    return np.asarray(cv2.LUT(gray, ids), np.int32)[None]


def gray_from_label_map(labels: NDArray[Any], mode: Literal['fixed', 'reference'] = 'fixed') -> NDArray[np.uint8]:
    """Draw the regions of a label map (L, H, W) in the order of their ids, like :func:`gray_from_masks`.

    Raises:
        MaskError: not a label map, or an invalid mode.
    """
    ranks = compact(labels)  # 0 stays 0, regions become 1, 2, ... in the order of their ids
    return _gray(ranks, int(ranks.max(initial=0)), mode)


def _gray(labels: NDArray[Any], count: int, mode: str) -> NDArray[np.uint8]:
    """Draw regions 1 to ``count`` of a label map (L, H, W) by look-up tables."""
    if mode not in ('fixed', 'reference'):
        raise MaskError(f"gray coding must be 'fixed' or 'reference', got {mode!r}")
    if mode == 'reference':
        table = np.array([0, *map(_code, range(count))], np.float32)
        return np.asarray(table[labels].sum(0, dtype=np.float32).clip(0, 255), np.uint8)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    codes = np.array([0, *_fixed_codes(areas)], np.uint8)
    order = np.empty(count + 1, np.int64)  # regions of higher order are drawn later
    order[0], order[1 + np.argsort(-areas, kind='stable')] = -1, np.arange(count)
    order[codes == 0] = -1
    on_top = order[labels].argmax(0)
    return np.asarray(codes[np.take_along_axis(labels, on_top[None], 0)[0]], np.uint8)


def _fixed_codes(areas: NDArray[Any]) -> list[int]:
    """Return the gray value of each mask; 0 for the smallest ones beyond 255 masks."""
    kept = np.argsort(-areas, kind='stable')[:CODES]
    if len(areas) > CODES:
        logger.warning('%d masks exceed 255 gray values: skipping the smallest %d', len(areas), len(areas) - CODES)
    codes = [0] * len(areas)
    for rank, index in enumerate(sorted(kept)):
        codes[index] = _code(rank)
    return codes


def _code(index: int) -> int:
    return 2 * (index + 1) if index < 127 else 2 * (255 - index) - 1


def _check_gray(gray: NDArray[Any]) -> NDArray[np.uint8]:
    if gray.ndim != 2 or gray.dtype != np.uint8:
        raise MaskError(f'a gray mask must be uint8 (H, W), got {gray.dtype} {gray.shape}')
    return gray
