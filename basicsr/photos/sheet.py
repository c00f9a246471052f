"""Contact sheets of deblurred photos: each photo and its result, whole and in the area of largest change."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.contact_sheet import contact_sheet, sheet_row
from basicsr.images.files import imwrite
from basicsr.masks.mask_images import eight_bits
from basicsr.utils.errors import OptionError

WIDTH = 280
"""Width of each image on the sheet, in pixels; details are shown unscaled."""

MOST = 100
"""Maximum number of photos on one sheet."""


def sheet_paths(path: Path, photos: int) -> list[Path]:
    """Return the files of the sheets for a number of photos: ``sheet.jpg``, ``sheet_2.jpg``, ..."""
    numbers = range(2, -(-photos // MOST) + 1)
    return [path, *(path.with_name(f'{path.stem}_{number}{path.suffix}') for number in numbers)]


class PhotoSheet:
    """Collects small images of deblurred photos, and writes a sheet whenever one is full.

    Args:
        path: of the first sheet, a JPEG or PNG file; see :func:`sheet_paths`.

    Raises:
        OptionError: a different file format.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ('.jpg', '.jpeg', '.png'):
            raise OptionError(f'{path}: a contact sheet needs the extension .jpg or .png')
        self.path = path
        self._rows: list[Array] = []
        self._photos = 0

    def add(self, title: str, photo: Array, result: Array) -> None:
        """Add a photo.

        Args:
            title: text above the photo.
            photo: (H, W, 1 or 3), uint8 or uint16 RGB.
            result: of the same shape and dtype.

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
        """Write the current sheet, if it has photos.

        Raises:
            OSError: the disk is full or the folder cannot be written.
        """
        if self._rows:
            imwrite(sheet_paths(self.path, self._photos)[-1], contact_sheet(self._rows))


def most_changed(before: Array, after: Array, side: int) -> tuple[slice, slice]:
    """Return the square window in which two images differ most.

    Args:
        before: (H, W, 3) uint8.
        after: of the same shape.
        side: of the window in pixels; at most the smaller side of the image.

    Returns:
        rows and columns.
    """
    difference = cv2.absdiff(before, after).max(2).astype(np.float32)
    side = min(side, *difference.shape)
    sums = cv2.integral(difference)
    windows = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return slice(int(top), int(top) + side), slice(int(left), int(left) + side)
