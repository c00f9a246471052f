"""Compare PSNR and SSIM with direct implementations of their formulas: ``python -m benchmarks.metrics``."""

from __future__ import annotations

import argparse

import numpy as np
import torch

from basicsr.metrics import calculate_psnr, calculate_ssim
from benchmarks.timing import header, paired, row
from benchmarks.transcriptions_metrics import psnr_numpy, ssim_3d_dense


def main() -> None:
    """Time each pair of implementations in alternating rounds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--height', type=int, default=720, help='of the images (default: 720)')
    parser.add_argument('--width', type=int, default=1280, help='of the images (default: 1280)')
    parser.add_argument('--rounds', type=int, default=1, help='rounds of the dense SSIM, a minute each (default: 1)')
    args = parser.parse_args()
    first, second = noisy_pair(args.height, args.width)
    size = f'{args.height}×{args.width}'

    def ssim() -> float:
        return calculate_ssim(first, second)

    header(f'Metrics, {size} RGB uint8')
    psnr = {'numpy': lambda: psnr_numpy(first, second), 'ours': lambda: calculate_psnr(first, second)}
    row('PSNR, against float64 numpy', paired(psnr, 31), '≥ 10×')
    single = {'dense': lambda: ssim_3d_dense(first, second, 60, torch.float32), 'ours': ssim}
    row('SSIM 3-D in float64, against a dense float32 convolution', paired(single, 3 * args.rounds))
    double = {'dense': lambda: ssim_3d_dense(first, second), 'ours': ssim}
    row('SSIM 3-D in float64, against a dense float64 convolution', paired(double, args.rounds), '≥ 20×')


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


if __name__ == '__main__':
    main()
