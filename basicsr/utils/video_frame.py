"""One frame of a video: its planes, the pictures that a network sees of it, and what it changed of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from basicsr.utils.image import Array
from basicsr.utils.side_by_side import label_strip, sizes
from basicsr.utils.video_colours import TRANSFERS, Layout, rgb_of, with_change
from basicsr.utils.video_display import NO_TURN, Turn

LABELS = ('video', 'result')
"""Above a frame and its result where both are shown in one."""
STEP = 4
"""What sizes of header and gap are multiples of there: whole chroma samples of both fields."""

_WHITE = {'PQ': 0.58, 'HLG': 0.75}  # of paper in HDR, as bright as a page (ITU-R BT.2408)


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
        """This frame on the left and its result on the right of it, as they are shown, with a gap and labels."""
        shape = self.planes[0].shape
        canvas = [_labels((shape[0], shape[1]), self.layout, self.turn)]
        canvas += [np.full(_chroma_size(canvas[0], self.layout), 1 << (self.layout.bits - 1))] * 2
        joined = []
        for paper, left, right in zip(canvas, self.planes, result.planes, strict=True):
            shown = self.turn.upright(paper.astype(left.dtype))
            for plane, end in ((left, False), (right, True)):
                height, width = self.turn.upright(plane).shape
                shown[-height:, -width if end else None : None if end else width] = self.turn.upright(plane)
            joined.append(self.turn.stored(shown))
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


def size_beside(size: tuple[int, int], turn: Turn) -> tuple[int, int]:
    """(H, W) as stored of a frame beside its result, for frames of ``size`` as stored."""
    height, width = size[::-1] if turn.exchanged else size
    header, gap = sizes(height, width, STEP)
    shown = height + header, 2 * width + gap
    return shown[::-1] if turn.exchanged else shown


def _chroma_size(luma: Array, layout: Layout) -> tuple[int, int]:
    return -(-luma.shape[0] // layout.down), -(-luma.shape[1] // layout.across)


@lru_cache(maxsize=2)
def _labels(size: tuple[int, int], layout: Layout, turn: Turn) -> Array:
    """Y of paper with labels, as stored, for two frames of ``size``; (H, W) of integers."""
    height, width = size[::-1] if turn.exchanged else size
    header, gap = sizes(height, width, STEP)
    gray = np.full((height + header, 2 * width + gap), 1.0)
    gray[:header] = label_strip(header, width, gap, LABELS)[..., 0] / 255
    factor, black = layout.scale()[0]
    white = _WHITE.get(TRANSFERS.get(layout.colours.transfer, ''), 1.0)
    return turn.stored(np.rint(gray * white * factor + black).astype(np.uint16))
