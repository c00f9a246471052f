"""Deconvolution with a known kernel."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from basicsr.deconvolution.fourier import blurred, difference_power, divergence, gradient, periodic, transfer

WEIGHT = 1e-3
"""Weight of the gradients (the inverse of lambda in Krishnan and Fergus): larger values suppress more noise."""
EXPONENT = 0.8
"""Exponent of the gradients (alpha)."""
LARGEST_BETA = 256
SATURATED = 254.5 / 255
"""Values from here on count as clipped."""
CLIPPED_ROUNDS, OVERSHOOT = 4, 2.0
BRIGHTEST = 4.0
"""Largest value of a clipped pixel before clipping, relative to white."""
_RANGE, _ENTRIES = 2.0, 4096


def deconvolved(planes: Tensor, kernels: Tensor, weight: float = WEIGHT) -> Tensor:
    r"""Minimise :math:`\|k * x - y\|^2 / w + \sum_d |\partial_d x|^\alpha` over x by half-quadratic splitting.

    Krishnan and Fergus, "Fast Image Deconvolution using Hyper-Laplacian Priors", NIPS 2009. Where y is clipped at
    white, only k * x < y is an error (compare Cho, Wang and Lee, "Handling Outliers in Non-Blind Image Deconvolution",
    ICCV 2011): these values are replaced by larger ones of k * x, and the image is deconvolved again.

    Args:
        planes: y, (..., C, H, W) float in [0, 1].
        kernels: k, (..., n, n), not negative, sum 1, n odd.
        weight: w.

    Returns:
        x, (..., C, H, W), not clamped.
    """
    clipped = planes >= SATURATED
    light, result = planes, _unclipped(planes, kernels, weight)
    for _ in range(CLIPPED_ROUNDS if clipped.any() else 0):
        missing = blurred(result.clamp(0, BRIGHTEST), kernels) - light
        light = torch.where(clipped, torch.maximum(planes, light + OVERSHOOT * missing), planes)
        result = _unclipped(light, kernels, weight)
    return result


def _unclipped(planes: Tensor, kernels: Tensor, weight: float) -> Tensor:
    height, width = planes.shape[-2:]
    y = periodic(planes, kernels.shape[-1])
    shape = tuple(y.shape[-2:])
    kernel = transfer(kernels, shape).unsqueeze(-3)
    data, power = kernel.conj() * torch.fft.rfft2(y) / weight, (kernel.real**2 + kernel.imag**2) / weight
    slopes = difference_power(shape, planes.device)
    x, beta = y, 1.0
    while beta < LARGEST_BETA:
        edges = divergence(*(shrunk(part, beta) for part in gradient(x)))
        x = torch.fft.irfft2((data + beta * torch.fft.rfft2(edges)) / (power + beta * slopes), s=shape)
        beta *= 2 * math.sqrt(2)
    return x[..., :height, :width]


def shrunk(values: Tensor, beta: float) -> Tensor:
    r"""Return the w that minimise :math:`|w|^\alpha + \beta / 2 (w - v)^2`, from a table with linear interpolation."""
    table = _table(beta).to(values)
    at = values.abs() * ((_ENTRIES - 1) / _RANGE)
    low = at.long().clamp_(max=_ENTRIES - 2)  # beyond the table, w differs from v by next to nothing and grows with it
    found = torch.lerp(table[low], table[low + 1], at - low)
    return found.copysign_(values)


@functools.lru_cache(64)
def _table(beta: float) -> Tensor:
    """Return w for v from 0 to the largest value, by Newton's method."""
    v = torch.linspace(0, _RANGE, _ENTRIES, dtype=torch.float64)
    w = v.clone()
    for _ in range(8):
        w.clamp_(min=1e-6)
        slope = (EXPONENT * (EXPONENT - 1) * w ** (EXPONENT - 2) + beta).clamp_min(1e-3)
        w = (w - (EXPONENT * w ** (EXPONENT - 1) + beta * (w - v)) / slope).clamp_min(0)
    better = w**EXPONENT + beta / 2 * (w - v) ** 2 < beta / 2 * v**2
    return torch.where(better, w, 0).float()
