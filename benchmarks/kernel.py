"""Deblurring with a known blur kernel, against the iterative method of scikit-image."""

from __future__ import annotations

import numpy as np
from skimage.restoration import richardson_lucy

from basicsr.deconvolution.functions import deconvolve
from benchmarks.bench import Bench
from benchmarks.photo import photo


def run_kernel(bench: Bench) -> None:
    """Deconvolution of a photo with a motion blur of 15 pixels."""
    height, width = (180, 320) if bench.quick else (720, 1280)
    sharp = photo(height, width).astype(np.float32) / 255
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    blurred = np.stack([np.apply_along_axis(np.convolve, 1, sharp[..., c], kernel[7], 'same') for c in range(3)], 2)
    blurred = blurred.astype(np.float32)

    def plain() -> None:
        for channel in range(3):
            richardson_lucy(blurred[..., channel], kernel, 30)

    bench.compare(
        f'deconvolution, {height}×{width}, kernel 15×15, against 30 rounds of Richardson-Lucy (scikit-image)',
        plain, lambda: deconvolve(blurred, kernel), 3,
    )  # fmt: skip
