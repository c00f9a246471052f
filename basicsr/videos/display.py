"""Read display matrices: frames rotated in steps of 90 degrees, mirrored or not."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_ONE = 1 << 16  # of the fixed-point numbers in a display matrix
_FLIPS = ((False, False), (False, True), (True, True), (True, False))  # rows, columns: orientations 1 to 4, 5 to 8


def display_of(data: bytes) -> tuple[int, ...] | None:
    """Return the display matrix in the side data of a frame; None without one, or for the identity.

    Returns:
        nine numbers (a b u, c d v, x y w) as in ISO/IEC 14496-12, section 6.2.2: a stored pixel (p, q) is shown at
        (a p + c q + x, b p + d q + y).
    """
    if len(data) != 36:
        return None
    matrix = struct.unpack('=9i', data)
    return None if matrix[:2] == (_ONE, 0) and matrix[3:5] == (0, _ONE) else matrix


def orientation_of(matrix: Sequence[int] | None) -> int:
    """Return the EXIF orientation of a display matrix; 1 if it does not turn by a multiple of 90 degrees."""
    if matrix is None:
        return 1
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if b == c == 0 and a and d:
        return 1 + _FLIPS.index((d < 0, a < 0))
    if a == d == 0 and b and c:
        return 5 + _FLIPS.index((b < 0, c < 0))
    return 1
