"""Direct implementations of the metrics: baseline of the benchmark, reference of the tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Array = npt.NDArray[np.float64]


def psnr_numpy(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> float:
    """Return the PSNR of 8-bit images, computed with float64 arrays.

    Args:
        first: uint8 (H, W, C).
        second: uint8 (H, W, C).
    """
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return float(20 * np.log10(255.0 / np.sqrt(error)))


def ssim_3d_dense(
    first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8], rows: int = 16, dtype: torch.dtype = torch.float64
) -> float:
    """Return the 3-D SSIM of 8-bit images by dense 11 x 11 x 11 convolutions, five filters.

    The images are treated in slabs of rows: unfolded at once, 720 x 1280 would take tens of GB.

    Args:
        first: uint8 (H, W, C).
        second: uint8 (H, W, C).
        rows: output rows in one slab.
        dtype: precision of the convolutions.
    """
    x, y = (F.pad(_volume(image).to(dtype), (5, 5, 5, 5, 5, 5), mode='replicate') for image in (first, second))
    kernel = gaussian_cube().to(dtype)
    total = 0.0
    for top in range(0, first.shape[0], rows):
        bottom = min(top + rows, first.shape[0])
        total += float(_map_of_slab(x[:, :, top : bottom + 10], y[:, :, top : bottom + 10], kernel).sum())
    return total / first.size


def gaussian_cube() -> torch.Tensor:
    """Return the 11 x 11 x 11 Gaussian window, sigma 1.5, as a float64 (1, 1, 11, 11, 11) convolution kernel."""
    distance = torch.arange(-5, 6, dtype=torch.float64)
    line = torch.exp(-(distance**2) / (2 * 1.5**2))
    line = line / line.sum()
    return (line[:, None, None] * line[None, :, None] * line[None, None, :])[None, None]


def _volume(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(image.astype(np.float64))[None, None]  # rows, columns, channels as in the original


def _map_of_slab(x: torch.Tensor, y: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    mu1, mu2 = F.conv3d(x, kernel), F.conv3d(y, kernel)
    sigma1 = F.conv3d(x * x, kernel) - mu1**2
    sigma2 = F.conv3d(y * y, kernel) - mu2**2
    sigma12 = F.conv3d(x * y, kernel) - mu1 * mu2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return ((2 * mu1 * mu2 + c1) * (2 * sigma12 + c2)) / ((mu1**2 + mu2**2 + c1) * (sigma1 + sigma2 + c2))
