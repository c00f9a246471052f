"""Contact sheets: small images with their names in rows, each row under its title."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.utils.lettering import shortened, text_width, write_text

Picture = NDArray[np.uint8]

PANEL = 320
"""Width of an image of the sheet, in pixels."""
HIGHEST = 1.5
"""No image of a sheet is higher than this many times the width of its column."""

_HEADER = 22
_LETTERS = 13
_WHITE = 255


def sheet_row(title: str, panels: Sequence[tuple[str, Picture]], width: int = PANEL) -> Picture:
    """One row.

    Args:
        title: written above the images; the middle is left out where it is too long.
        panels: name and image, (H, W, 3) RGB uint8.
        width: of each column, in pixels; images are scaled to it, or to ``HIGHEST`` times as much in height.

    Returns:
        (H, W, 3) RGB uint8.
    """
    header = np.full((_HEADER, width * len(panels), 3), _WHITE, np.uint8)
    write_text(header, shortened(title, header.shape[1] - 8, _LETTERS), 4, 2, _LETTERS, (30, 30, 30))
    shown = [_panel(name, picture, width) for name, picture in panels]
    height = max(picture.shape[0] for picture in shown)
    return np.vstack([header, np.hstack([_padded(picture, height, width) for picture in shown])])


def contact_sheet(rows: Sequence[Picture]) -> Picture:
    """The rows below each other, (H, W, 3) RGB uint8; there is at least one."""
    width = max(row.shape[1] for row in rows)
    return np.vstack([_padded(row, row.shape[0], width) for row in rows])


def _padded(picture: Picture, height: int, width: int) -> Picture:
    """White below and to the right, up to a size."""
    below, beside = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, ((0, below), (0, beside), (0, 0)), constant_values=_WHITE)


def _panel(name: str, picture: Picture, width: int) -> Picture:
    scale = min(width / picture.shape[1], HIGHEST * width / picture.shape[0])
    size = tuple(max(1, round(side * scale)) for side in picture.shape[1::-1])
    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    shown: Picture = np.array(scaled, np.uint8)
    if name:
        shown[: _LETTERS + 8, : text_width(name, _LETTERS) + 12] //= 3  # so that it can be read on any image
        write_text(shown, name, 6, 2, _LETTERS, (255, 255, 255))
    return shown
