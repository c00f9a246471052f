"""Similarity of blur kernels."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_similarity(first: Tensor, second: Tensor) -> float:
    """Return the largest normalised cross-correlation of two kernels over all shifts, 0 to 1.

    Hu and Yang, "Good Regions to Deblur", ECCV 2012, section 4.

    Args:
        first: (h, w), not negative, not all 0.
        second: of any size.
    """
    first, second = (kernel.cpu().double() for kernel in (first, second))  # Apple GPUs lack float64
    shape = [a + b - 1 for a, b in zip(first.shape, second.shape, strict=True)]
    spectra = [torch.fft.rfft2(kernel, s=shape) for kernel in (first, second)]
    products = torch.fft.irfft2(spectra[0] * spectra[1].conj(), s=shape)
    return float(products.max() / (first.norm() * second.norm()).clamp_min(1e-30))
