"""Contact sheets: rows of small images with names, each row below its title."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.lettering import shortened, text_width, write_text

PANEL = 320
"""Width of a column, in pixels."""
HIGHEST = 1.5
"""Largest height of an image, relative to the width of its column."""

_HEADER = 22
_LETTERS = 13
_WHITE = 255


def sheet_row(title: str, panels: Sequence[tuple[str, Array]], width: int = PANEL) -> Array:
    """Draw one row.

    Args:
        title: text above the images; its middle is cut out if it is too long.
        panels: name and image, (H, W, 3) RGB uint8.
        width: width of each column in pixels; images are scaled to it, or to ``HIGHEST`` times as much in height.

    Returns:
        (H, W, 3) RGB uint8.
    """
    header = np.full((_HEADER, width * len(panels), 3), _WHITE, np.uint8)
    write_text(header, shortened(title, header.shape[1] - 8, _LETTERS), 4, 2, _LETTERS, (30, 30, 30))
    shown = [_panel(name, image, width) for name, image in panels]
    height = max(image.shape[0] for image in shown)
    return np.vstack([header, np.hstack([_padded(image, height, width) for image in shown])])


def contact_sheet(rows: Sequence[Array]) -> Array:
    """Stack at least one row, (H, W, 3) RGB uint8."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([_padded(row, row.shape[0], width) for row in rows])


def _padded(image: Array, height: int, width: int) -> Array:
    """Pad with white below and to the right."""
    below, beside = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, beside), (0, 0)), constant_values=_WHITE)


def _panel(name: str, image: Array, width: int) -> Array:
    scale = min(width / image.shape[1], HIGHEST * width / image.shape[0])
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    shown = np.array(scaled, np.uint8)
    if name:
        shown[: _LETTERS + 8, : text_width(name, _LETTERS) + 12] //= 3  # readable on any image
        write_text(shown, name, 6, 2, _LETTERS, (255, 255, 255))
    return shown
