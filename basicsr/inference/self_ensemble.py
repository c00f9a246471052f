"""The eight flips and rotations of an image, and their inverses, for a self-ensemble."""

from __future__ import annotations

import itertools

from torch import Tensor

Turn = tuple[bool, bool, bool]
"""Whether to flip left to right, then upside down, then to transpose."""

_BOTH = False, True
TURNS: tuple[Turn, ...] = tuple(itertools.product(_BOTH, _BOTH, _BOTH))  # the first changes nothing


def turned(x: Tensor, turn: Turn) -> Tensor:
    """Flip and transpose an image or a label map, (..., H, W)."""
    x = x.flip([axis for axis, flipped in zip((-1, -2), turn[:2], strict=True) if flipped])
    return x.transpose(-1, -2).contiguous() if turn[2] else x


def turned_back(x: Tensor, turn: Turn) -> Tensor:
    """Undo :func:`turned`."""
    x = x.transpose(-1, -2) if turn[2] else x
    return x.flip([axis for axis, flipped in zip((-1, -2), turn[:2], strict=True) if flipped])
