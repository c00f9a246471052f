"""A contact sheet of deblurred photos: each photo and its result, whole, and where they differ most."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.masks.pictures import eight_bits
from basicsr.utils.contact_sheet import Picture, contact_sheet, sheet_row
from basicsr.utils.errors import OptionError
from basicsr.utils.image import Array, imwrite

WIDTH = 280
"""Of each picture on the sheet, in pixels; details are shown pixel by pixel."""

MOST = 200
"""Photos on one sheet; of further ones it only tells the number. (JPEG ends at 65535 rows.)"""


class PhotoSheet:
    """Collects small pictures of photos while they are deblurred.

    Args:
        path: of the sheet, a JPEG or PNG file.

    Raises:
        OptionError: another kind of file.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ('.jpg', '.jpeg', '.png'):
            raise OptionError(f'{path}: a contact sheet is a .jpg or .png file')
        self.path = path
        self._rows: list[Picture] = []
        self._further = 0

    def add(self, title: str, photo: Array, result: Array) -> None:
        """Add a photo.

        Args:
            title: written above it.
            photo: (H, W, 1 or 3), uint8 or uint16 RGB.
            result: of the same kind.
        """
        if len(self._rows) == MOST:
            self._further += 1
            return
        before, after = eight_bits(photo), eight_bits(result)
        window = most_changed(before, after, WIDTH)
        panels = [('photo', before), ('result', after), ('photo, detail', before[window]), ('detail', after[window])]
        self._rows.append(sheet_row(title, panels, WIDTH))

    def save(self) -> None:
        """Write the sheet; nothing without photos.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        if not self._rows:
            return
        blank = np.full((1, WIDTH, 3), 255, np.uint8)
        more = [sheet_row(f'... and {self._further} more', [('', blank)] * 4, WIDTH)] if self._further else []
        imwrite(self.path, contact_sheet([*self._rows, *more]))


def most_changed(before: Picture, after: Picture, side: int) -> tuple[slice, slice]:
    """The square window in which two pictures differ most.

    Args:
        before: (H, W, 3) uint8.
        after: of the same shape.
        side: of the window in pixels; it is less where the picture is smaller.

    Returns:
        rows and columns.
    """
    difference = cv2.absdiff(before, after).max(2).astype(np.float32)
    side = min(side, *difference.shape)
    sums = cv2.integral(difference)
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)
