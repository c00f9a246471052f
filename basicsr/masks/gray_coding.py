"""Masks as one 8-bit picture: the original's coding bit for bit, and one that loses as little as 8 bits allow.

The CAT method feeds such a picture to the network as a fourth channel; the original stores all masks this way.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.masks.label_map import check_masks, compact
from basicsr.utils.errors import MaskError

logger = logging.getLogger(__name__)

CODES = 255  # gray values for masks; 0 is no mask


def gray_from_masks(masks: NDArray[Any], mode: Literal['fixed', 'reference'] = 'fixed') -> NDArray[np.uint8]:
    """Draw masks into one gray picture.

    Mask i (from 0) has the code 2(i + 1) for i < 127, then 255, 253, ..., 1. ``reference`` adds the codes of
    overlapping masks in float32 and clips the sum, as the original does: an intersection may collide with a third
    mask or saturate, and masks beyond the 255th have negative codes. ``fixed`` gives a pixel to the smallest mask
    that covers it, and keeps the 255 largest masks where there are more.

    Args:
        masks: boolean, (M, H, W) or (M, 1, H, W), in the order of their generator.
        mode: see above.

    Returns:
        (H, W) uint8; all zero without masks.

    Raises:
        MaskError: wrong shape, dtype or mode.
    """
    masks = check_masks(masks)
    _check_mode(mode)
    if mode == 'reference':
        total = np.zeros(masks.shape[1:], np.float32)
        for index, mask in enumerate(masks):
            total += mask * np.float32(_code(index))
        return total.clip(0, 255).astype(np.uint8)
    areas = masks.sum((1, 2))
    codes = _fixed_codes(areas)
    gray = np.zeros(masks.shape[1:], np.uint8)
    for index in np.argsort(-areas, kind='stable'):
        if codes[index]:
            gray[masks[index]] = codes[index]
    return gray


def masks_from_gray(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Group a gray picture: one mask for every value that occurs, ascending, background (0) included.

    The masks are a partition of the image (the original's ``grouped_masks``).

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
    """The same partition as a label map (1, H, W): the lowest gray value becomes region 1, so no pixel is 0."""
    there = cv2.calcHist([_check_gray(gray)], [0], None, [256], [0, 256]).ravel() > 0
    ids = np.cumsum(there).astype(np.int32)
    return np.asarray(cv2.LUT(gray, ids), np.int32)[None]


def gray_from_label_map(labels: NDArray[Any], mode: Literal['fixed', 'reference'] = 'fixed') -> NDArray[np.uint8]:
    """The CAT picture of a label map (L, H, W): :func:`gray_from_masks` of its regions in the order of their ids.

    The same numbers by look-up tables, without a plane for each region.

    Raises:
        MaskError: no label map, or no such mode.
    """
    ranks = compact(labels)  # 0 stays 0, regions become 1, 2, ... in the order of their ids
    _check_mode(mode)
    count = int(ranks.max(initial=0))
    if mode == 'reference':
        table = np.array([0, *map(_code, range(count))], np.float32)
        return np.asarray(table[ranks].sum(0, dtype=np.float32).clip(0, 255), np.uint8)
    areas = np.bincount(ranks.ravel(), minlength=count + 1)[1:]
    codes = np.array([0, *_fixed_codes(areas)], np.uint8)
    order = np.empty(count + 1, np.int64)  # the later a region is drawn, the higher
    order[0], order[1 + np.argsort(-areas, kind='stable')] = -1, np.arange(count)
    order[codes == 0] = -1
    on_top = order[ranks].argmax(0)
    return np.asarray(codes[np.take_along_axis(ranks, on_top[None], 0)[0]], np.uint8)


def _check_mode(mode: str) -> None:
    if mode not in ('fixed', 'reference'):
        raise MaskError(f"gray coding is 'fixed' or 'reference', not {mode!r}")


def _fixed_codes(areas: NDArray[Any]) -> list[int]:
    """The gray value of each mask; 0 for the smallest ones, where there are more than 255."""
    kept = np.argsort(-areas, kind='stable')[:CODES]
    if len(areas) > CODES:
        logger.warning(
            '%d masks do not fit 255 gray values: the smallest %d are left out', len(areas), len(areas) - CODES
        )
    codes = [0] * len(areas)
    for rank, index in enumerate(sorted(kept)):
        codes[index] = _code(rank)
    return codes


def _code(index: int) -> int:
    return 2 * (index + 1) if index < 127 else 2 * (255 - index) - 1


def _check_gray(gray: NDArray[Any]) -> NDArray[np.uint8]:
    if gray.ndim != 2 or gray.dtype != np.uint8:
        raise MaskError(f'a gray mask picture is uint8 (H, W), got {gray.dtype} {gray.shape}')
    return gray
