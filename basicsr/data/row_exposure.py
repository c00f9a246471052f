"""Simulate a camera with a global-reset-release shutter: all rows start together, lower rows are exposed longer.

Row r of H is exposed from 0 to T(r) = T(0) + (T(H-1) - T(0)) · r / (H-1), because it waits until the rows above are
read. A moving point leaves a longer trace further down, and no skew (Wang et al., "Neural Global Shutter", CVPR 2022;
Ji et al., "Single Image Deblurring with Row-dependent Blur Magnitude", ICCV 2023). Neither paper published a generator;
this one is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.camera_shake import CameraShake
from basicsr.data.exposure import Image, Planes, add_noise, gray_of, light_of, to_uint8
from basicsr.utils.errors import ArgumentError, ShapeError

Brightness = Literal['mean', 'first_row', 'last_row']
Target = Literal['first_row', 'first_frame', 'row_centre']
Frames = Callable[[int, int], Planes]
"""``frames(k, top)`` returns the rows of frame k from row ``top`` on: light, (H - top, W, C), until the next call."""


@dataclass(frozen=True)
class RowExposure:
    """The exposure of every row, in frames: intervals of a clip, or steps of a motion path.

    Args:
        first: exposure time of the first row.
        last: exposure time of the last row, at least ``first``; with equal times, all rows have the same blur.
        brightness: 'mean' divides every row by its exposure time, so that all are equally bright. The others keep the
            light that a row collects: 'first_row' exposes the first row correctly, and lower rows are brighter and
            clipped at white; 'last_row' exposes the last row correctly, and upper rows and the sharp image are darker.
        target: the sharp image is the mean over the exposure of the first row, as a second camera with a global shutter
            takes it ('first_row'), or the first frame ('first_frame'). With 'row_centre', the exposure of the target is
            as long, but in the middle of that of each row: blurred and sharp rows show things at the same place, and
            the sharp image is skewed as by a rolling shutter.
        gamma: gray value = light^(1/gamma); 1 averages gray values.
        noise: standard deviation of shot and read noise at half of white, in light (white = 1), before brightening.

    Raises:
        ArgumentError: not 0 < ``first`` <= ``last``, gamma below 0.1, or negative noise.
    """

    first: float
    last: float
    brightness: Brightness = 'mean'
    target: Target = 'first_row'
    gamma: float = 2.2
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.last < np.inf:
            raise ArgumentError(
                f'the exposure of the first row must be above 0, and that of the last row at least as long; '
                f'got {self.first} and {self.last} frames'
            )
        if not (0.1 <= self.gamma < np.inf and 0 <= self.noise < np.inf):
            raise ArgumentError(f'gamma must be at least 0.1 and noise at least 0, got {self.gamma} and {self.noise}')

    @property
    def frames(self) -> int:
        """Number of frames that the last row sees."""
        return int(np.ceil(self.last))

    def times(self, rows: int) -> NDArray[np.float64]:
        """Return the exposure times of the rows of an image, (rows,), in frames."""
        return np.linspace(self.first, self.last, rows) if rows > 1 else np.array([float(self.first)])

    def integrate(self, frames: Frames, rows: int) -> tuple[Planes, Planes]:
        """Integrate light: every row over its own exposure, and over that of the target.

        Args:
            frames: reads a frame from a certain row on; it is called once per frame, in order.
            rows: of the image, H.

        Returns:
            the mean light of the blurred and of the sharp image, (H, W, C); without noise, brightness and clipping.
        """
        times = self.times(rows)
        length = 1.0 if self.target == 'first_frame' else float(self.first)
        opens = (times - length) / 2 if self.target == 'row_centre' else np.zeros_like(times)
        light = frames(0, 0)
        blurred, sharp = np.zeros_like(light), np.zeros_like(light)
        for number in range(int(np.ceil(times[-1]))):
            begin, whole = int(np.searchsorted(times, number, 'right')), int(np.searchsorted(times, number + 1))
            light = frames(number, begin) if number else light  # rows from begin on see it, from whole on to its end
            shares = (np.minimum(opens + length, number + 1) - np.maximum(opens, number)).clip(0) / length
            if (seen := np.flatnonzero(shares)).size:
                top, end = int(seen[0]), int(seen[-1]) + 1  # top >= begin: these rows see the frame
                sharp[top:end] += shares[top:end].astype(np.float32)[:, None, None] * light[top - begin : end - begin]
            part = (times[begin:whole] - number).astype(np.float32)[:, None, None]
            blurred[begin:whole] += part * light[: whole - begin]
            blurred[whole:] += light[whole - begin :]
        blurred /= times.astype(np.float32)[:, None, None]
        return blurred, sharp

    def expose(self, frames: Frames, rows: int, rng: np.random.Generator) -> tuple[Image, Image]:
        """Take the blurred and the sharp image, both (H, W, C) uint8.

        Args:
            frames: see :meth:`integrate`.
            rows: of the image.
            rng: random generator of the noise; not used without noise.
        """
        blurred, sharp = self.integrate(frames, rows)
        times = self.times(rows).astype(np.float32)[:, None, None]
        reference = times[-1] if self.brightness == 'last_row' else times[0]
        if self.brightness != 'mean' or self.noise:
            blurred *= times / reference  # the light that the sensor collects
        if self.noise:
            blurred = add_noise(blurred, self.noise, rng)
        if self.brightness == 'mean' and self.noise:
            blurred *= reference / times
        if self.brightness == 'last_row':
            sharp *= times[0] / reference
        return to_uint8(gray_of(blurred, self.gamma)), to_uint8(gray_of(sharp, self.gamma))


def frames_of_clip(images: Sequence[Image], gamma: float) -> Frames:
    """Return the frames of a clip as light.

    Args:
        images: (H, W, C) uint8, of one size.
        gamma: light = gray value^gamma.

    Raises:
        ShapeError: the sizes differ.
    """
    for number, image in enumerate(images):
        if image.shape != images[0].shape:
            raise ShapeError(f'frame {number} has shape {image.shape}, the first frame {images[0].shape}')
    return lambda number, top: light_of(images[number][top:], gamma)


def frames_of_photo(light: Planes, shake: CameraShake, count: int, window: tuple[int, int, int, int]) -> Frames:
    """Return what a window of a photo shows at equally spaced moments of a camera shake.

    The first frame is the photo itself: the shake is seen from its beginning.

    Args:
        light: (H, W, C) of the photo; beyond its edges it is mirrored.
        shake: of an image of that size.
        count: number of moments.
        window: top, left, height, width.
    """
    first, left, height, width = window
    buffer = np.empty((height, width, light.shape[2]), np.float32)
    matrices = shake.homographies(count)
    matrices = np.linalg.inv(matrices[0]) @ matrices

    def frame(number: int, top: int) -> Planes:
        if number == 0:
            return light[first + top : first + height, left : left + width]
        place = np.array([[1, 0, left], [0, 1, first + top], [0, 0, 1]], np.float64)
        matrix, seen = matrices[number] @ place, buffer[top:]
        cv2.warpPerspective(
            light, matrix, (width, height - top), dst=seen,
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT,
        )  # fmt: skip
        cv2.threshold(seen, 0, 0, cv2.THRESH_TOZERO, dst=seen)  # cubic interpolation overshoots
        return seen

    return frame
