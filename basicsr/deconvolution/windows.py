"""Overlapping windows of an image, and how they are blended."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIDE, LARGEST_SIDE = 360, 480
"""Side of a window in pixels: usual, and at most."""
OVERLAP = 0.4
"""Smallest part of a window that its neighbour overlaps."""
ALONE = 1.5
"""An image whose sides are at most this many times the usual side is one window."""


@dataclass(frozen=True)
class Window:
    """A part of an image.

    Args:
        top: first row.
        left: first column.
        height: number of rows.
        width: number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    def of(self, planes: Tensor) -> Tensor:
        """Return this part of (..., H, W)."""
        return planes[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def grown(self, margin: int, size: tuple[int, int]) -> Window:
        """Return the window with a margin on each side, inside an image of ``size`` (H, W)."""
        top, left = max(self.top - margin, 0), max(self.left - margin, 0)
        bottom = min(self.top + self.height + margin, size[0])
        right = min(self.left + self.width + margin, size[1])
        return Window(top, left, bottom - top, right - left)

    def common(self, other: Window) -> Window | None:
        """Return the part that two windows share; None if there is none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.height, other.top + other.height)
        right = min(self.left + self.width, other.left + other.width)
        return Window(top, left, bottom - top, right - left) if bottom > top and right > left else None

    def inside(self, outer: Window) -> Window:
        """Return the window in the coordinates of a window that contains it."""
        return Window(self.top - outer.top, self.left - outer.left, self.height, self.width)


def layout(height: int, width: int, most: int, scale: float = 1.0) -> tuple[float, list[Window]]:
    """Return a scale for an image and at most ``most`` windows that cover the image of this scale.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        most: largest number of windows, at least 1.
        scale: largest scale.

    Returns:
        the scale; the windows row by row.
    """
    for side in range(SIDE, LARGEST_SIDE + 1, 20):
        windows = _grid(round(height * scale), round(width * scale), side)
        if len(windows) <= most:
            return scale, windows
    while True:
        scale *= 0.97
        windows = _grid(round(height * scale), round(width * scale), LARGEST_SIDE)
        if len(windows) <= most:
            return scale, windows


def _grid(height: int, width: int, side: int) -> list[Window]:
    rows, columns = _starts(height, side), _starts(width, side)
    high, wide = (side if len(starts) > 1 else length for starts, length in ((rows, height), (columns, width)))
    return [Window(top, left, high, wide) for top in rows for left in columns]


def _starts(length: int, side: int) -> list[int]:
    if length <= side * ALONE:
        return [0]
    number = math.ceil((length - side) / (side * (1 - OVERLAP))) + 1
    return [round(i * (length - side) / (number - 1)) for i in range(number)]


def ramps(window: Window, size: tuple[int, int], like: Tensor) -> Tensor:
    """Return weights of a window for blending, (height, width): 1 in the middle, smoothly to 0 at inner borders.

    Args:
        window: a part of the image.
        size: height and width of the image; sides of the window on its border have no ramp.
        like: gives device and dtype.
    """
    weights = []
    for start, length, whole in ((window.top, window.height, size[0]), (window.left, window.width, size[1])):
        reach = max(round(length * OVERLAP), 1)
        at = (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / reach
        ramp = torch.ones_like(at)
        if start > 0:
            ramp = torch.minimum(ramp, at)
        if start + length < whole:
            ramp = torch.minimum(ramp, at.flip(0))
        weights.append(ramp * ramp * (3 - 2 * ramp))
    return weights[0][:, None] * weights[1] + 1e-6
