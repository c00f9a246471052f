"""What a method of basicsr.inference.baselines costs, and how it changes the light of an image."""

from __future__ import annotations

import math
import time

import numpy as np
import torch

from basicsr.images.arrays import Array
from basicsr.inference.baselines import Outcome, Run
from basicsr.utils.measure import peak_memory

WINDOW = 64


def measured(run: Run, image: Array) -> tuple[Outcome, float, float]:
    """Run a method; return its outcome, seconds, and the peak of the memory of the whole process in MiB (or NaN)."""

    def timed() -> tuple[Outcome, float]:
        start = time.perf_counter()
        return run(image), time.perf_counter() - start

    (outcome, seconds), peak = peak_memory(timed, torch.device('cpu'), total=True)
    return outcome, seconds, math.nan if peak is None else peak


def change_of_light(before: Array, after: Array) -> tuple[float, float]:
    """Return how much the mean of an image changed: |change| of the whole, and the mean of |change| over windows.

    Args:
        before: (H, W, 3) in [0, 1].
        after: the same shape, before rounding.

    Returns:
        gray levels of 8 bits, over all channels; windows of 64×64 pixels, without a smaller rest.
    """
    change = 255 * np.subtract(after, before, dtype=np.float64).mean(axis=2)
    rows, columns = (range(0, max(side - WINDOW + 1, 1), WINDOW) for side in change.shape)
    windows = [change[top : top + WINDOW, left : left + WINDOW].mean() for top in rows for left in columns]
    return abs(float(change.mean())), float(np.abs(windows).mean())
