"""Contact sheets: small pictures with their names in rows, each row under its title."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

PANEL = 320
"""Width of a picture of the sheet, in pixels."""

_HEADER = 22
_WHITE = 255


def sheet_row(title: str, panels: Sequence[tuple[str, Picture]], width: int = PANEL) -> Picture:
    """One row.

    Args:
        title: written above the pictures; letters beyond ASCII become question marks.
        panels: name and picture, (H, W, 3) RGB uint8, of about the same proportions.
        width: of each picture, in pixels; they are scaled to it.

    Returns:
        (H, W, 3) RGB uint8.
    """
    header = np.full((_HEADER, width * len(panels), 3), _WHITE, np.uint8)
    cv2.putText(header, _ascii(title), (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (30, 30, 30), 1, cv2.LINE_AA)
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
    height = max(1, round(width * picture.shape[0] / picture.shape[1]))
    smaller = width < picture.shape[1]
    scaled = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_NEAREST)
    shown: Picture = np.array(scaled, np.uint8)
    if name:
        (wide, high), below = cv2.getTextSize(_ascii(name), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        shown[: high + below + 8, : wide + 12] //= 3  # so that it can be read on any picture
        cv2.putText(shown, _ascii(name), (6, high + 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return shown


def _ascii(text: str) -> str:
    """OpenCV's letters are ASCII."""
    return text.encode('ascii', 'replace').decode()
