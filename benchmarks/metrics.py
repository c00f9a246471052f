"""PSNR and SSIM, against direct implementations of their formulas."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from basicsr.metrics import calculate_psnr, calculate_ssim
from benchmarks.bench import Bench
from benchmarks.transcriptions_metrics import psnr_numpy, ssim_3d_dense


def run_metrics(bench: Bench) -> None:
    """PSNR and the 3-D SSIM, whose dense form takes a minute at full size."""
    height, width = (180, 320) if bench.quick else (720, 1280)
    first, second = noisy_pair(height, width)
    size = f'{height}×{width}'
    bench.compare(
        f'PSNR, {size}', lambda: psnr_numpy(first, second), lambda: calculate_psnr(first, second), 31, '≥ 10×',
        moved=2 * first.nbytes,
    )  # fmt: skip
    for dtype, rounds, target in ((torch.float32, 3, ''), (torch.float64, 1, '≥ 20×')):
        bench.compare(
            f'3-D SSIM in float64, {size}, against a dense {str(dtype)[6:]} convolution',
            partial(ssim_3d_dense, first, second, 60 if dtype == torch.float32 else 16, dtype),
            lambda: calculate_ssim(first, second),
            rounds,
            target,
        )
    if bench.device.type == 'cuda':
        bench.compare(
            f'3-D SSIM in float64, {size}, on the device, against here on the CPU',
            partial(calculate_ssim, first, second), partial(calculate_ssim, first, second, device=str(bench.device)), 7,
        )  # fmt: skip


def noisy_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth image and a noisy copy.

    Args:
        height: rows.
        width: columns.

    Returns:
        two uint8 arrays (height, width, 3).
    """
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / period + phase) * np.cos(columns / period) for period, phase in ((7, 0), (19, 1), (53, 2))]
    clean = 127 + 100 * np.stack(waves, axis=2)
    noisy = clean + rng.normal(0, 12, clean.shape)
    return clean.astype(np.uint8), noisy.clip(0, 255).astype(np.uint8)
