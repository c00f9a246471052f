"""Row-dependent blur of a pair, from the frames of a clip and from a photo, against the sums of its definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.data.camera_shake import CameraShake
from basicsr.data.exposure import light_of
from basicsr.data.row_exposure import Frames, RowExposure, frames_of_clip, frames_of_photo
from benchmarks.bench import Bench
from benchmarks.photo import photo

FRAMES = 13
PATHS = 10.0, 20.0  # in pixels; the first is the mean of the default range of grr-synth


def run_rows(bench: Bench) -> None:
    """One pair without reading and writing files; the target is 5 pairs of 720×1280 a second."""
    height, width = (180, 320) if bench.quick else (720, 1280)
    sharp = photo(height, width)
    clip = [np.ascontiguousarray(np.roll(sharp, 2 * number, 1)) for number in range(FRAMES)]
    exposure, rng = RowExposure(1, FRAMES), np.random.default_rng(0)

    def summed(light: NDArray[Any], first: float) -> None:
        weights = np.clip(np.linspace(first, len(light), height)[None] - np.arange(len(light))[:, None], 0, 1)
        blurred = np.einsum('kh,khwc->hwc', weights, light) / weights.sum(0)[:, None, None]
        for image in (blurred, light[0]):
            (np.clip(image, 0, 1) ** (1 / 2.2) * 255).round().astype(np.uint8)

    def plain_clip() -> None:
        summed((np.stack(clip) / 255) ** 2.2, 1)

    def of_clip() -> None:
        exposure.expose(frames_of_clip(clip, exposure.gamma), height, rng)

    target = '' if bench.quick else 'at most 200 ms'
    bench.compare(f'a pair of {height}×{width} from {FRAMES} frames', plain_clip, of_clip, 5, target)
    corners = np.array([(row, column) for row in (0, height) for column in (0, width)], np.float64)
    for path in PATHS:
        shake = CameraShake((height, width), path, np.random.default_rng(0))
        count = shake.samples_for(corners)

        def shaken(shake: CameraShake = shake, count: int = count) -> Frames:
            return frames_of_photo(light_of(sharp, exposure.gamma), shake, count, (0, 0, height, width))

        def of_photo(shaken: Callable[[], Frames] = shaken, count: int = count) -> None:
            RowExposure(count / FRAMES, count).expose(shaken(), height, rng)

        def plain_photo(shaken: Callable[[], Frames] = shaken, count: int = count) -> None:
            frames = shaken()
            summed(np.stack([frames(number, 0).copy() for number in range(count)]), count / FRAMES)

        case = f'a pair of {height}×{width} from a photo, path of {path:.0f} pixels, {count} frames'
        bench.compare(case, plain_photo, of_photo, 5, target)
