"""Turn pixels as EXIF's orientation says, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored pixels (H, W, C) as EXIF's orientation (1 to 8) says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def as_stored(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo :func:`upright`."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
