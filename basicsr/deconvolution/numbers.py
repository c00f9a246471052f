"""Numbers that tell whether a kernel explains a photo."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.deconvolution.fourier import blurred
from basicsr.deconvolution.nonblind import deconvolved

SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0))
_BEYOND, _BLACK, _WHITE = 0.05, 2 / 255, 253 / 255


@dataclass(frozen=True)
class KernelNumbers:
    """Properties of a kernel and of what it leaves unexplained.

    Args:
        white: mean absolute autocorrelation of the residual at eight small shifts, 0 (white noise) to 1. Almeida and
            Figueiredo, "Parameter Estimation for Blind and Non-Blind Deblurring Using Residual Whiteness Measures",
            IEEE TIP 2013.
        residual: standard deviation of the residual, in gray levels of 255.
        peak: largest value of the kernel, which sums to 1.
        spread: root mean square distance from the centre of mass, in pixels.
        edge: share of the kernel in its two outer rows and columns.
        excess: share of the pixels of the deconvolved image that are more than 5 % blacker than black or whiter than
            white, without those near clipped pixels of the photo.
        agreement: normalised cross-correlation of the deconvolved image with overlapping ones that have kernels of
            their own, the median; 1 without any.
    """

    white: float
    residual: float
    peak: float
    spread: float
    edge: float
    excess: float
    agreement: float = 1.0

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def whiteness(residual: Tensor) -> Tensor:
    """Return the mean absolute autocorrelation of residuals (B, H, W) at :data:`SHIFTS`, (B,)."""
    r = residual - residual.mean((-2, -1), keepdim=True)
    power = (r * r).mean((-2, -1)).clamp_min(1e-12)
    height, width = r.shape[-2:]
    total = torch.zeros_like(power)
    for down, right in SHIFTS:
        first = r[..., : height - down, max(-right, 0) : width - max(right, 0)]
        second = r[..., down:, max(right, 0) : width - max(-right, 0)]
        total = total + ((first * second).mean((-2, -1)) / power).abs()
    return total / len(SHIFTS)


def residuals(gray: Tensor, sharp: Tensor, kernels: Tensor) -> Tensor:
    """Return k * x - y without a border as wide as the kernel.

    Args:
        gray: y, (B, H, W).
        sharp: x, (B, H, W).
        kernels: k, (B, n, n).
    """
    height, width = gray.shape[-2:]
    border = min(kernels.shape[-1], (min(height, width) - 8) // 2)
    difference = blurred(sharp[:, None], kernels)[:, 0] - gray
    return difference[..., border : height - border, border : width - border]


def spread(kernels: Tensor) -> Tensor:
    """Return the root mean square distance of kernels (B, n, n) from their centre of mass, (B,)."""
    at = torch.arange(kernels.shape[-1], device=kernels.device, dtype=kernels.dtype)
    total = torch.zeros_like(kernels[:, 0, 0])
    for sums in (kernels.sum(-1), kernels.sum(-2)):
        middle = (sums * at).sum(-1, keepdim=True)
        total = total + (sums * (at - middle) ** 2).sum(-1)
    return total.sqrt()


def edge_share(kernels: Tensor) -> Tensor:
    """Return the share of kernels (B, n, n) in their two outer rows and columns, (B,)."""
    inner = kernels[..., 2:-2, 2:-2].sum((-2, -1)) if kernels.shape[-1] > 4 else torch.zeros_like(kernels[:, 0, 0])
    return (1 - inner / kernels.sum((-2, -1))).clamp_min(0)


def numbers_of(gray: Tensor, kernel: Tensor, weight: float) -> tuple[KernelNumbers, Tensor]:
    """Measure how well a kernel (n, n) explains a gray image (H, W) in [0, 1]; also return the deconvolved image."""
    kernels = kernel[None]
    sharp = deconvolved(gray[None], kernel, weight)[0]
    residual = residuals(gray[None], sharp[None], kernels)
    numbers = KernelNumbers(
        white=float(whiteness(residual)),
        residual=float(residual.std() * 255),
        peak=float(kernel.max()),
        spread=float(spread(kernels)),
        edge=float(edge_share(kernels)),
        excess=_excess(gray, sharp, kernel.shape[-1]),
    )
    return numbers, sharp


def _excess(gray: Tensor, sharp: Tensor, size: int) -> float:
    """Return the share of pixels beyond black and white, without those near clipped pixels of the photo."""
    beyond = (sharp < -_BEYOND) | (sharp > 1 + _BEYOND)
    clipped = (gray <= _BLACK) | (gray >= _WHITE)
    rows = F.max_pool2d(clipped.float()[None], (size, 1), stride=1, padding=(size // 2, 0))
    near = F.max_pool2d(rows, (1, size), stride=1, padding=(0, size // 2))[0] > 0
    return float((beyond & ~near).float().mean())
