"""Simulate blur of real motion: interpolate between two neighbouring frames and average.

Frames between two neighbours are interpolated along optical flow in both directions; each pixel takes the frame in
which it is visible. The mean of many is the blur of a longer exposure, as data sets of high-speed video have it (Nah et
al., "NTIRE 2019 challenge on video deblurring", the REDS data set). Optical flow is DIS (Kroeger et al., ECCV 2016).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.exposure import Image, Planes
from basicsr.utils.errors import ShapeError

Window = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""

_STEPS = 3
_TOLERANCE = (0.75, 0.05)
FRAMES = (8, 32)
"""Smallest and largest number of in-between frames of one exposure."""


class FramePair:
    """Two neighbouring frames of a clip and the optical flow between them.

    Args:
        first, second: (H, W, 3) RGB uint8, of one size.

    Raises:
        ShapeError: they differ in size.
    """

    def __init__(self, first: Image, second: Image) -> None:
        if first.shape != second.shape:
            raise ShapeError(
                f'neighbouring frames must have the same size, got {first.shape[:2]} and {second.shape[:2]}'
            )
        gray = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in (first, second)]
        self.size = first.shape[0], first.shape[1]
        self.forward = _flow(gray[0], gray[1], cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.backward = _flow(gray[1], gray[0], cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.agrees = _agreement(self.forward, self.backward), _agreement(self.backward, self.forward)

    def motion(self) -> Planes:
        """Return how far each pixel of the first frame moves until the second, (H, W) in pixels."""
        return _length(self.forward)

    def between(self, lights: tuple[Planes, Planes], times: NDArray[np.float64], window: Window) -> Planes:
        """Interpolate the light of a window at times between the frames.

        Args:
            lights: (H, W, C) of the two frames.
            times: (T,); 0 is the first frame, 1 the second; slightly beyond, the motion is extrapolated.
            window: top, left, height, width.

        Returns:
            (T, height, width, C).
        """
        here = _places(window)
        frames = np.empty((len(times), *here.shape[:2], lights[0].shape[2]), np.float32)
        for number, time in enumerate(times.tolist()):
            seen, total = 0.0, 0.0
            flows = (self.forward, time), (self.backward, 1 - time)
            for (flow, part), agrees, light in zip(flows, self.agrees, lights, strict=True):
                place, missed = _origin(here, flow, part)
                visible = _at(agrees, place, cv2.INTER_LINEAR) * np.exp(-(missed**2))
                weight = (min(max(1 - part, 0.0), 1.0) * (visible + 1e-3) + 1e-6)[..., None]
                total = total + weight * _at(light, place, cv2.INTER_CUBIC)
                seen = seen + weight
            frames[number] = total / seen
        return np.maximum(frames, 0)

    def labels_between(self, labels: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
        """Return the regions of a window in the middle between the frames.

        Args:
            labels: (H, W), regions of the first frame.
            window: top, left, height, width.

        Returns:
            (height, width).
        """
        place, _ = _origin(_places(window), self.forward, 0.5)
        return np.asarray(_at(labels.astype(np.float32), place, cv2.INTER_NEAREST), np.uint8)

    def agreement(self, window: Window) -> float:
        """Return the share of a window's pixels, 0 to 1, at which both flows agree."""
        top, left, height, width = window
        parts = [plane[top : top + height, left : left + width].mean() for plane in self.agrees]
        return float(min(parts))


def mean_motion(first: Image, second: Image) -> float:
    """Estimate how far pixels move between two frames of one size, in pixels, by the flow at a quarter of the size."""
    size = max(16, first.shape[1] // 4), max(16, first.shape[0] // 4)
    small = (cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (first, second))
    gray = [np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8) for frame in small]
    flow = _flow(gray[0], gray[1], cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    return float(_length(flow).mean() * first.shape[1] / size[0])


def times_of(exposure: float, longest: float) -> NDArray[np.float64]:
    """Return the times of the interpolated frames of an exposure around the middle between two frames.

    Args:
        exposure: in intervals between frames.
        longest: path of the fastest pixel during the exposure, in pixels; a step is about one of them.

    Returns:
        8 to 32 moments; their mean is 0.5.
    """
    count = int(np.clip(np.ceil(longest), *FRAMES))
    return 0.5 + exposure * ((np.arange(count) + 0.5) / count - 0.5)


def _flow(first: NDArray[np.uint8], second: NDArray[np.uint8], preset: int) -> Planes:
    """Estimate the optical flow (H, W, 2) of gray images: (right, down) in pixels."""
    flow = cv2.DISOpticalFlow.create(preset)
    return np.asarray(flow.calc(first, second, None), np.float32)  # type: ignore[call-overload]


def _places(window: Window) -> Planes:
    """Return (column, row) of each pixel of a window, (height, width, 2)."""
    top, left, height, width = window
    grid = np.meshgrid(np.arange(left, left + width), np.arange(top, top + height))
    return np.stack(grid, axis=-1).astype(np.float32)


def _agreement(flow: Planes, back: Planes) -> Planes:
    """Return 1 where a pixel that follows the flow forth and back returns to its place, else 0; (H, W)."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in flow.shape[:2])
    there = flow + np.stack(np.meshgrid(columns, rows), axis=-1)
    missed = _length(flow + _at(back, there, cv2.INTER_LINEAR))
    absolute, relative = _TOLERANCE
    inside = ((there >= 0) & (there <= np.array(flow.shape[1::-1]) - 1)).all(axis=2)
    return np.asarray((missed < absolute + relative * _length(flow)) & inside, np.float32)


def _origin(here: Planes, flow: Planes, part: float) -> tuple[Planes, Planes]:
    """Return the pixel of a frame that is ``here`` after ``part`` of its way, and the error in pixels."""
    place = here
    for _ in range(_STEPS):
        before, place = place, here - part * _at(flow, place, cv2.INTER_LINEAR)
    return place, _length(place - before)


def _at(values: Planes, place: Planes, how: int) -> Planes:
    """Return the values at (column, row) places."""
    columns, rows = place[..., 0], place[..., 1]
    return np.asarray(cv2.remap(values, columns, rows, how, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _length(vectors: Planes) -> Planes:
    """Return the lengths of vectors (H, W, 2)."""
    return np.asarray(cv2.magnitude(vectors[..., 0], vectors[..., 1]), np.float32)
