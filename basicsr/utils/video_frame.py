"""One frame of a video: its planes, the pictures that a network sees of it, and what it changed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from basicsr.utils.image import Array
from basicsr.utils.video_colours import Layout, rgb_of, with_change
from basicsr.utils.video_display import NO_TURN, Turn

GAP = 16
"""Pixels between a frame and its result where both are shown in one; whole chroma samples of every kind."""


@dataclass(frozen=True)
class Frame:
    """A frame as it is stored.

    Args:
        planes: Y, Cb, Cr of integers.
        layout: what they mean.
        time: when it is shown, in units of the time base of its video.
        duration: how long, or 0 if it is not known.
        turn: the way to the upright picture.
        interlaced: its odd and even rows are two pictures, of different times.
    """

    planes: Sequence[Array]
    layout: Layout
    time: int = 0
    duration: int = 0
    turn: Turn = NO_TURN
    interlaced: bool = False

    def pictures(self) -> list[Array]:
        """The frame upright, or its two fields, as (H, W, 3) float32 RGB in [0, 1]."""
        return [self.turn.upright(rgb_of(planes, self.layout)) for planes in self._parts()]

    def changed(self, before: Sequence[Array], after: Sequence[Array]) -> Frame:
        """The frame with other pictures.

        Args:
            before: of :meth:`pictures`.
            after: in their place.
        """
        parts = [
            with_change(planes, self.turn.stored(old), self.turn.stored(new), self.layout)
            for planes, old, new in zip(self._parts(), before, after, strict=True)
        ]
        if not self.interlaced:
            return replace(self, planes=parts[0])
        woven = []
        for top, bottom, like in zip(*parts, self.planes, strict=True):
            plane = np.empty_like(like, top.dtype)
            plane[::2], plane[1::2] = top, bottom
            woven.append(plane)
        return replace(self, planes=woven)

    def beside(self, result: Frame) -> Frame:
        """This frame on the left and its result on the right of it, as they are shown, with a gap of :data:`GAP`."""
        layout, rows = self.layout, self.turn.exchanged
        joined = []
        for index, (left, right) in enumerate(zip(self.planes, result.planes, strict=True)):
            step = (layout.down if rows else layout.across) if index else 1
            shape = (GAP // step, left.shape[1]) if rows else (left.shape[0], GAP // step)
            parts = [left, np.full(shape, round(layout.scale()[index, 1]), left.dtype), right]
            joined.append(np.concatenate(parts[::-1] if self.turn.left_right else parts, 0 if rows else 1))
        return replace(self, planes=joined)

    def whole(self) -> Array:
        """The frame upright, both fields together, (H, W, 3) float32 RGB in [0, 1]."""
        return self.turn.upright(rgb_of(self.planes, self.layout))

    def cut(self, size: tuple[int, int]) -> Frame:
        """The upper left part of some size (H, W) as stored; whole chroma samples."""
        by = [(1, 1), *[(self.layout.down, self.layout.across)] * 2]
        return replace(
            self,
            planes=[
                plane[: size[0] // down, : size[1] // across]
                for plane, (down, across) in zip(self.planes, by, strict=True)
            ],
        )

    def _parts(self) -> list[list[Array]]:
        if not self.interlaced:
            return [list(self.planes)]
        return [[np.ascontiguousarray(plane[first::2]) for plane in self.planes] for first in (0, 1)]
