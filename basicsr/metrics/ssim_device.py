"""Structural similarity in float64 on a GPU: the map of :func:`basicsr.metrics.ssim.ssim_map`, computed by PyTorch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.images.arrays import Array
from basicsr.metrics.gaussian import channel_mixing_matrix

BAND = 2**20
"""Pixels of the map computed at once, so that its memory does not grow with the image (about 0.5 GB)."""


def ssim_map_on(
    device: torch.device | str, first: Array, second: Array, data_range: float, volume: bool, taps: Array
) -> Tensor:
    """Return the SSIM at every pixel and channel, with replicated borders.

    Args:
        device: computes the map.
        first: array (H, W, C).
        second: array (H, W, C).
        data_range: distance between black and white.
        volume: filter along the channels as well (3-D).
        taps: (n,) of the Gaussian window, symmetric, n odd.

    Returns:
        float64 (H, W, C) on the device. It equals the map of the CPU up to about 1e-12.
    """
    x, y = (_on(device, image) for image in (first, second))
    mixing = channel_mixing_matrix(first.shape[2], taps) if volume else None
    mean_x, mean_y, mean_xy, mean_squares = _window_means(torch.stack([x, y, x * y, x * x + y * y]), taps, mixing)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    similar: Tensor = (2 * product + c1) * (2 * (mean_xy - product) + c2)
    return similar.div_((squares + c1) * (mean_squares - squares + c2)).permute(1, 2, 0)


def _on(device: torch.device | str, image: Array) -> Tensor:
    """Copy an image in its own type, which is smaller, and return it as float64 (C, H, W)."""
    plain = image.astype(np.int32) if image.dtype == np.uint16 else image  # few operations know uint16
    return torch.from_numpy(np.ascontiguousarray(plain)).to(device).permute(2, 0, 1).double()


def _window_means(maps: Tensor, taps: Array, mixing: Array | None) -> Tensor:
    """Return Gaussian means of (N, C, H, W) over rows and columns, and over channels by a small matrix.

    Sums of shifted copies: convolutions in float64 are slow where the channels are filtered one by one.
    """
    halo = len(taps) // 2
    for dim, border in ((-2, (0, 0, halo, halo)), (-1, (halo, halo, 0, 0))):
        length, padded = maps.shape[dim], F.pad(maps, border, 'replicate')
        maps = float(taps[halo]) * padded.narrow(dim, halo, length)
        for shift in range(halo):
            pair = padded.narrow(dim, shift, length) + padded.narrow(dim, 2 * halo - shift, length)
            maps.add_(pair, alpha=float(taps[shift]))
    if mixing is None:
        return maps
    return torch.einsum('dc,nchw->ndhw', torch.from_numpy(np.ascontiguousarray(mixing)).to(maps), maps)
