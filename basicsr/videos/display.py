"""How stored frames are turned for display: rotated in steps of 90 degrees, mirrored or not."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from basicsr.images.arrays import Array

_ONE = 1 << 16  # of the fixed-point numbers in a display matrix


@dataclass(frozen=True)
class Turn:
    """The way from a stored frame to the upright one: rows and columns exchanged, then mirrored.

    Args:
        exchanged: rows and columns.
        upside_down: then the rows are reversed.
        left_right: then the columns are reversed.
    """

    exchanged: bool = False
    upside_down: bool = False
    left_right: bool = False

    def upright(self, image: Array) -> Array:
        """A stored image (H, W, ...) as it is shown."""
        image = image.swapaxes(0, 1) if self.exchanged else image
        return np.ascontiguousarray(image[self._steps])

    def stored(self, image: Array) -> Array:
        """The inverse of :meth:`upright`."""
        image = image[self._steps]
        return np.ascontiguousarray(image.swapaxes(0, 1) if self.exchanged else image)

    @property
    def _steps(self) -> tuple[slice, slice]:
        return slice(None, None, -1 if self.upside_down else 1), slice(None, None, -1 if self.left_right else 1)


NO_TURN = Turn()


def display_of(data: bytes) -> tuple[int, ...] | None:
    """The display matrix in the side data of a frame; None if there is none, or if it turns nothing.

    Returns:
        nine numbers (a b u, c d v, x y w) as in ISO/IEC 14496-12, section 6.2.2: a stored pixel (p, q) is shown at
        (a p + c q + x, b p + d q + y).
    """
    if len(data) != 36:
        return None
    matrix = struct.unpack('=9i', data)
    return None if matrix[:2] == (_ONE, 0) and matrix[3:5] == (0, _ONE) else matrix


def turn_of(matrix: Sequence[int] | None) -> Turn:
    """The turn that a display matrix stands for; none if it is not by a multiple of 90 degrees."""
    if matrix is None:
        return NO_TURN
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if b == c == 0 and a and d:
        return Turn(False, d < 0, a < 0)
    if a == d == 0 and b and c:
        return Turn(True, b < 0, c < 0)
    return NO_TURN
