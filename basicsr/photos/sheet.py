"""Contact sheets of deblurred photos: each photo and its result, whole, and where they differ most."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imwrite
from basicsr.masks.pictures import eight_bits
from basicsr.utils.errors import OptionError

WIDTH = 280
"""Of each image on the sheet, in pixels; details are shown pixel by pixel."""

MOST = 100
"""Photos on one sheet; further ones go to further sheets."""


def sheet_paths(path: Path, photos: int) -> list[Path]:
    """The files of the sheets for so many photos: ``sheet.jpg``, ``sheet_2.jpg``, ..."""
    numbers = range(2, -(-photos // MOST) + 1)
    return [path, *(path.with_name(f'{path.stem}_{number}{path.suffix}') for number in numbers)]


class PhotoSheet:
    """Collects small images of photos while they are deblurred, and writes a sheet whenever one is full.

    Args:
        path: of the first sheet, a JPEG or PNG file; see :func:`sheet_paths`.

    Raises:
        OptionError: another kind of file.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ('.jpg', '.jpeg', '.png'):
            raise OptionError(f'{path}: a contact sheet is a .jpg or .png file')
        self.path = path
        self._rows: list[Array] = []
        self._photos = 0

    def add(self, title: str, photo: Array, result: Array) -> None:
        """Add a photo.

        Args:
            title: written above it.
            photo: (H, W, 1 or 3), uint8 or uint16 RGB.
            result: of the same kind.

        Raises:
            OSError: a sheet is full and cannot be written.
        """
        if len(self._rows) == MOST:
            self.save()
            self._rows.clear()
        self._photos += 1
        before, after = eight_bits(photo), eight_bits(result)
        window = most_changed(before, after, WIDTH)
        panels = [('photo', before), ('result', after), ('photo, detail', before[window]), ('detail', after[window])]
        self._rows.append(sheet_row(title, panels, WIDTH))

    def save(self) -> None:
        """Write the sheet of the last photos; nothing without photos.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        if self._rows:
            imwrite(sheet_paths(self.path, self._photos)[-1], contact_sheet(self._rows))


def most_changed(before: Array, after: Array, side: int) -> tuple[slice, slice]:
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
