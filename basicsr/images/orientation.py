"""Turn pixels by an EXIF orientation, and back."""

from __future__ import annotations

import numpy as np

from basicsr.images.arrays import Array


def upright(pixels: Array, orientation: int) -> Array:
    """Turn stored pixels (H, W, ...) upright by their EXIF orientation, 1 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def as_stored(pixels: Array, orientation: int) -> Array:
    """Undo :func:`upright`."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
