"""Pictures of photos and of their regions for the screen, where nobody needs them in full resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from basicsr.masks.pictures import eight_bits, overlay
from basicsr.models.deblurrer import Deblurred
from basicsr.utils.files import whole_file
from basicsr.utils.image import Array, imwrite
from basicsr.utils.photo import Photo
from basicsr.utils.pixels import pil_of
from basicsr.utils.transparency import fill_invisible

SIDE = 2560
"""Longest side of the pictures on the screen; results are downloaded in full resolution."""


def shrunk(photo: Photo) -> tuple[str, ...]:
    """By how much a photo is made smaller for the screen, in words; nothing if it is not."""
    side = max(photo.pixels.shape[:2])
    return (f'shown at {SIDE / side:.0%}, the download is whole',) if side > SIDE else ()


def _size(photo: Photo) -> tuple[int, int]:
    """Height and width on the screen."""
    height, width = photo.pixels.shape[:2]
    shrink = min(1.0, SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def _on_screen(photo: Photo) -> Array:
    """(H, W, 1) or (H, W, 3) uint8, not larger than screens are; white where it is transparent."""
    height, width = _size(photo)
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


def show(path: Path, photo: Photo) -> None:
    """Write a photo for the screen, in its own colours."""
    more: dict[str, Any] = {'quality': 95, 'subsampling': 0}
    if photo.stored.more.get('icc_profile'):
        more['icc_profile'] = photo.stored.more['icc_profile']
    picture: Image.Image = pil_of(_on_screen(photo))
    with whole_file(path) as file:
        picture.save(file, 'JPEG', **more)


def show_regions(path: Path, photo: Photo, details: Deblurred) -> tuple[Path | None, int]:
    """Write the photo with its regions.

    Args:
        path: a JPEG file.
        photo: what they are laid over.
        details: how it was deblurred.

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
    ids = np.unique(details.labels)
    return path, int((ids > 0).sum())
