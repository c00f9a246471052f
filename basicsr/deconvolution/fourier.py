"""Periodic images, transfer functions and differences for deconvolution with FFTs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor


def periodic(planes: Tensor, margin: int) -> Tensor:
    """Extend images below and to the right so that they continue without a jump when they are repeated.

    The extension blends the mirrored lower (right) edge into the mirrored upper (left) edge, in the spirit of Liu and
    Jia, "Reducing Boundary Artifacts in Image Deconvolution", ICIP 2008.

    Args:
        planes: (..., H, W) float.
        margin: smallest number of rows and columns to add; sizes for which FFTs are slow are rounded up.

    Returns:
        (..., H + at least margin, W + at least margin).
    """
    for axis in (-2, -1):
        size = planes.shape[axis]
        more = next_fast_len(size + margin, real=True) - size
        ramp = torch.arange(1, more + 1, device=planes.device, dtype=planes.dtype) / (more + 1)
        ramp = (ramp * ramp * (3 - 2 * ramp)).reshape((-1, 1) if axis == -2 else (1, -1))
        index = torch.arange(more, device=planes.device).clamp_(max=size - 1)
        end = planes.index_select(axis, size - 1 - index)
        start = planes.index_select(axis, index.flip(0))
        planes = torch.cat([planes, end * (1 - ramp) + start * ramp], axis)
    return planes


def transfer(kernels: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the transfer functions of kernels whose middle is the origin.

    Args:
        kernels: (..., n, n), n odd.
        shape: height and width of the periodic image, at least n.

    Returns:
        (..., H, W // 2 + 1) complex.
    """
    height, width = kernels.shape[-2:]
    padded = F.pad(kernels, (0, shape[1] - width, 0, shape[0] - height))
    spectrum: Tensor = torch.fft.rfft2(padded.roll((-(height // 2), -(width // 2)), (-2, -1)))
    return spectrum


def difference_power(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return the sum of the squared absolute transfer functions of the two forward differences, (H, W // 2 + 1)."""
    rows = torch.fft.fftfreq(shape[0], device=device)[:, None]
    columns = torch.fft.rfftfreq(shape[1], device=device)[None]
    return 4 * (torch.sin(torch.pi * rows) ** 2 + torch.sin(torch.pi * columns) ** 2)


def gradient(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the periodic forward differences of (..., H, W), horizontal and vertical."""
    return planes.roll(-1, -1) - planes, planes.roll(-1, -2) - planes


def divergence(horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Apply the transpose of :func:`gradient` to two fields (..., H, W)."""
    return horizontal.roll(1, -1) - horizontal + vertical.roll(1, -2) - vertical


def blurred(planes: Tensor, kernels: Tensor) -> Tensor:
    """Convolve images with kernels of odd size; beyond the edge, the images are mirrored.

    Args:
        planes: (..., C, H, W).
        kernels: (..., n, n), one for all C planes of an image; n odd.

    Returns:
        (..., C, H, W).
    """
    height, width = planes.shape[-2:]
    extended = periodic(planes, kernels.shape[-1])
    shape = extended.shape[-2:]
    product = torch.fft.rfft2(extended) * transfer(kernels, shape).unsqueeze(-3)
    result: Tensor = torch.fft.irfft2(product, s=tuple(shape))
    return result[..., :height, :width]


def shifted(planes: Tensor, rows: float, columns: float) -> Tensor:
    """Move images by a fraction of a pixel (Fourier shift theorem); beyond the edge, the images are mirrored.

    Args:
        planes: (..., H, W).
        rows: shift downwards in pixels.
        columns: shift to the right in pixels.

    Returns:
        (..., H, W).
    """
    if not rows and not columns:
        return planes
    height, width = planes.shape[-2:]
    extended = periodic(planes, 8 + 2 * int(max(abs(rows), abs(columns))))
    shape = extended.shape[-2:]
    angle = torch.fft.fftfreq(shape[0], device=planes.device)[:, None] * rows
    angle = angle + torch.fft.rfftfreq(shape[1], device=planes.device)[None] * columns
    phase = torch.polar(torch.ones_like(angle), -2 * torch.pi * angle)
    result: Tensor = torch.fft.irfft2(torch.fft.rfft2(extended) * phase, s=tuple(shape))
    return result[..., :height, :width]
