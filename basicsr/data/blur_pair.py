"""A generated pair of images, and its size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.exposure import Image, Planes, to_uint8

BlurKind = Literal['shake', 'motion', 'kernel', 'sharp']


@dataclass(frozen=True)
class BlurPair:
    """A generated pair and how it was made.

    Args:
        lq, gt: (H, W, 3) RGB uint8.
        kind: of the blur.
        source: the photo, or the first frame.
        extent: mean length of the paths of its pixels, in pixels.
        labels: (1, H, W), regions from 1; None if the source has none.
    """

    lq: Image
    gt: Image
    kind: BlurKind
    source: Path
    extent: float
    labels: NDArray[np.uint8] | None = None


def resized(light: Planes, size: tuple[int, int]) -> Planes:
    """Return an image (H, W, C) scaled down to ``size``, height and width, by area averaging."""
    if light.shape[:2] == size:
        return light
    changed = np.asarray(cv2.resize(light, size[::-1], interpolation=cv2.INTER_AREA), np.float32)
    return changed.reshape(*size, light.shape[2])


def resampled(labels: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return labels (H, W) at a different size, height and width, without mixing regions."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, labels.shape, strict=False))
    return labels[np.ix_(rows, columns)]


def reduced(
    lq: Planes, gt: Image, labels: NDArray[np.uint8] | None, size: tuple[int, int]
) -> tuple[Planes, Image, NDArray[np.uint8] | None]:
    """Return the middle of a pair in the proportions of ``size`` (width, height), scaled down to it.

    Args:
        lq: (H, W, 3), white = 1.
        gt: (H, W, 3).
        labels: (1, H, W).
        size: width and height.
    """
    (height, width), (columns, rows) = lq.shape[:2], size
    inner = min(height, round(width * rows / columns)), min(width, round(height * columns / rows))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    middle = slice(top, top + inner[0]), slice(left, left + inner[1])
    sharp = to_uint8(resized(np.asarray(gt / np.float32(255), np.float32)[middle], (rows, columns)))
    cut = None if labels is None else np.ascontiguousarray(resampled(labels[0][middle], (rows, columns)))[None]
    return resized(lq[middle], (rows, columns)), sharp, cut
