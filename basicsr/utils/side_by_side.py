"""Two images beside each other, with a gap and a label above each."""

from __future__ import annotations

import numpy as np

from basicsr.utils.image import Array
from basicsr.utils.lettering import text_width, write_text

_PAPER, _INK = 255, 40


def side_by_side(left: Array, right: Array, labels: tuple[str, str] = ('photo', 'result'), step: int = 1) -> Array:
    """Two images of one shape on one canvas; the images fill its lower left and lower right corner.

    Args:
        left: (H, W, 1) gray or (H, W, 3) RGB, uint8 or uint16.
        right: of the same shape and dtype.
        labels: written above them.
        step: see :func:`sizes`.

    Returns:
        (H + header, 2 W + gap, C) of the same dtype, white where no image is.
    """
    height, width, channels = left.shape
    header, gap = sizes(height, width, step)
    strip = label_strip(header, width, gap, labels)
    between = np.full((height, gap, channels), _PAPER, np.uint8)
    scale = 257 if left.dtype == np.uint16 else 1
    paper = [(part.astype(left.dtype) * scale).astype(left.dtype) for part in (strip[..., :channels], between)]
    return np.concatenate([paper[0], np.concatenate([left, paper[1], right], 1)])


def label_strip(header: int, width: int, gap: int, labels: tuple[str, str]) -> Array:
    """The white strip above two images with a label over each, (header, 2 * width + gap, 3) uint8."""
    size = max(6, round(header / 1.6))
    while size > 6 and max(text_width(label, size) for label in labels) > width:
        size -= 1
    strip = np.full((header, 2 * width + gap, 3), _PAPER, np.uint8)
    for label, place in zip(labels, (0, width + gap), strict=True):
        part = strip[:, place : place + width]
        write_text(part, label, 0, (header - size) // 2 - size // 8, size, (_INK,) * 3)
    return strip


def sizes(height: int, width: int, step: int = 1) -> tuple[int, int]:
    """Height of the header and width of the gap, in pixels, for two images of (H, W).

    Args:
        height, width: of an image.
        step: both are multiples of it.
    """
    header, gap = 1.6 * min(64, max(14, height / 30)), min(40, max(4, width / 100))
    return step * round(header / step), step * max(1, round(gap / step))
