"""Reduced images of photos and of their regions for the screen."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.images.photo import Photo
from basicsr.images.pixels import pil_of
from basicsr.images.transparency import fill_invisible
from basicsr.inference.deblurred import Deblurred
from basicsr.masks.mask_images import eight_bits, overlay
from basicsr.utils.files import whole_file

SIDE = 2560
"""Longest side of the images on the screen, in pixels; downloads have the full resolution."""


def format_of(photo: Photo) -> str:
    """Return format and depth of a photo in words."""
    kind = 'gray ' if photo.pixels.shape[2] == 1 else ''
    return f'{kind}{photo.stored.format}, {8 * photo.pixels.itemsize}-bit'


def shrunk(photo: Photo) -> tuple[str, ...]:
    """Return a note about the scale on the screen; none at full resolution."""
    side = max(photo.pixels.shape[:2])
    return (f'shown at {SIDE / side:.0%}; the download has full resolution',) if side > SIDE else ()


def _on_screen(photo: Photo, side: int = SIDE) -> Array:
    """Return (H, W, 1) or (H, W, 3) uint8, at most ``side`` pixels long; white where the photo is transparent."""
    size = photo.pixels.shape[:2]
    height, width = (max(1, round(length * min(1.0, side / max(size)))) for length in size)
    colour = fill_invisible(photo.pixels, photo.alpha)
    planes = [colour] if photo.alpha is None else [colour, photo.alpha]
    small = []
    for plane in planes:
        eight = (plane >> 8).astype(np.uint8) if plane.dtype == np.uint16 else plane
        if eight.shape[:2] != (height, width):
            eight = cv2.resize(eight, (width, height), interpolation=cv2.INTER_AREA).reshape(height, width, -1)
        small.append(eight)
    if len(small) == 1:
        return small[0]
    alpha = small[1] / 255
    return np.asarray((small[0] * alpha + 255 * (1 - alpha)).round(), np.uint8)


def show(path: Path, photo: Photo, side: int = SIDE) -> None:
    """Write a photo as JPEG for the screen, with its colour profile.

    Args:
        path: a JPEG file.
        photo: of any size.
        side: longest side of the image, in pixels.
    """
    profile = photo.stored.more.get('icc_profile')
    with whole_file(path) as file:
        pil_of(_on_screen(photo, side)).save(file, 'JPEG', quality=95, subsampling=0, icc_profile=profile)


def show_regions(path: Path, photo: Photo, details: Deblurred) -> tuple[Path | None, int]:
    """Draw the regions over the photo and write it.

    Args:
        path: a JPEG file.
        photo: the background.
        details: of the deblurred photo, with the label map.

    Returns:
        the file, or None if the network takes no masks; and the number of regions.
    """
    if details.labels is None:
        return None, 0
    shown = eight_bits(_on_screen(photo))
    rows, columns = (
        np.arange(size) * whole // size for size, whole in zip(shown.shape[:2], details.labels.shape[1:], strict=True)
    )
    imwrite(path, overlay(shown, details.labels[:, rows[:, None], columns]))
    return path, int((np.unique(details.labels) > 0).sum())
