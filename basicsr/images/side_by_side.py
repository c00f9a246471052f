"""Place two images side by side, with a gap and a label above each."""

from __future__ import annotations

import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.lettering import text_width, write_text

_PAPER, _INK = 255, 40


def side_by_side(
    left: Array, right: Array, labels: tuple[str, str] = ('photo', 'result'), step: int = 1, white: float | None = None
) -> Array:
    """Place two images of one shape in the lower left and lower right corner of a canvas.

    Args:
        left: (H, W, 1) gray or (H, W, 3) RGB; uint8, uint16 or floating point.
        right: image of the same shape and dtype.
        labels: texts above them.
        step: see :func:`sizes`.
        white: value of white; None for the largest integer.

    Returns:
        (H + header, 2 W + gap, C) of the same dtype, white outside the images.
    """
    height, width, channels = left.shape
    header, gap = sizes(height, width, step)
    white = np.iinfo(left.dtype).max if white is None else white
    canvas = np.full((height + header, 2 * width + gap, channels), white, left.dtype)
    canvas[header:, :width], canvas[header:, -width:] = left, right
    size = max(6, round(header / 1.6))
    while size > 6 and max(text_width(label, size) for label in labels) > width:
        size -= 1
    strip = np.full((header, 2 * width + gap, 3), _PAPER, np.uint8)
    for label, place in zip(labels, (0, width + gap), strict=True):
        part = strip[:, place : place + width]
        write_text(part, label, 0, (header - size) // 2 - size // 8, size, (_INK,) * 3)
    canvas[:header] = strip[..., :channels] * (white / 255)
    return canvas


def sizes(height: int, width: int, step: int = 1) -> tuple[int, int]:
    """Return the height of the header and the width of the gap, in pixels, for two images of (H, W).

    Args:
        height, width: size of an image.
        step: both results are multiples of it.
    """
    header, gap = 1.6 * min(64, max(14, height / 30)), min(40, max(4, width / 100))
    return step * round(header / step), step * max(1, round(gap / step))
