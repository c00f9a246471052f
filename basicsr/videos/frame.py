"""One frame of a video: its planes, its images in RGB, and changes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.orientation import as_stored, upright
from basicsr.images.side_by_side import side_by_side, sizes
from basicsr.videos.colours import TRANSFERS, PlaneLayout, planes_from_rgb, rgb_of, with_change

LABELS = ('video', 'result')
"""Labels of a frame and its result side by side."""
STEP = 4
"""Sizes of header and gap are multiples of this: whole chroma samples of both fields."""

_WHITE = {'PQ': 0.58, 'HLG': 0.75}  # of paper in HDR, as bright as a page (ITU-R BT.2408)


@dataclass(frozen=True)
class Frame:
    """A frame as stored.

    Args:
        planes: Y, Cb, Cr of integers.
        layout: layout of the planes.
        time: presentation time, in units of the time base of its video.
        duration: in the same units; 0 if unknown.
        orientation: EXIF orientation, 1 to 8, which turns it upright.
        interlaced: its odd and even rows are two images of different times.
    """

    planes: Sequence[Array]
    layout: PlaneLayout
    time: int = 0
    duration: int = 0
    orientation: int = 1
    interlaced: bool = False

    def images(self) -> list[Array]:
        """Return the frame upright, or its two fields, as (H, W, 3) float32 RGB in [0, 1]."""
        return [upright(rgb_of(planes, self.layout), self.orientation) for planes in self._fields()]

    def changed(self, before: Sequence[Array], after: Sequence[Array]) -> Frame:
        """Return the frame with other images.

        Args:
            before: the return value of :meth:`images`.
            after: changed images.
        """
        fields = [
            with_change(planes, as_stored(old, self.orientation), as_stored(new, self.orientation), self.layout)
            for planes, old, new in zip(self._fields(), before, after, strict=True)
        ]
        if not self.interlaced:
            return replace(self, planes=fields[0])
        woven = [np.empty_like(plane, field.dtype) for plane, field in zip(self.planes, fields[0], strict=True)]
        for first, field in enumerate(fields):
            for plane, rows in zip(woven, field, strict=True):
                plane[first::2] = rows
        return replace(self, planes=woven)

    def beside(self, result: Frame) -> Frame:
        """Return this frame on the left and its result on the right, as displayed, with a gap and labels."""
        white = _WHITE.get(TRANSFERS.get(self.layout.colours.transfer, ''), 1.0)
        canvas = side_by_side(self.whole(), result.whole(), LABELS, STEP, white)
        return replace(self, planes=planes_from_rgb(as_stored(canvas, self.orientation), self.layout))

    def whole(self) -> Array:
        """Return the frame upright, both fields together, (H, W, 3) float32 RGB in [0, 1]."""
        return upright(rgb_of(self.planes, self.layout), self.orientation)

    def cropped(self, size: tuple[int, int]) -> Frame:
        """Return the upper left part of a size (H, W) as stored, in whole chroma samples."""
        steps = [(1, 1), *2 * [(self.layout.down, self.layout.across)]]
        planes = [
            plane[: size[0] // down, : size[1] // across]
            for plane, (down, across) in zip(self.planes, steps, strict=True)
        ]
        return replace(self, planes=planes)

    def _fields(self) -> list[list[Array]]:
        if not self.interlaced:
            return [list(self.planes)]
        return [[np.ascontiguousarray(plane[first::2]) for plane in self.planes] for first in (0, 1)]


def size_beside(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the stored size (H, W) of a frame beside its result, for frames of a stored ``size``."""
    height, width = size[::-1] if orientation >= 5 else size
    header, gap = sizes(height, width, STEP)
    shown = height + header, 2 * width + gap
    return shown[::-1] if orientation >= 5 else shown
