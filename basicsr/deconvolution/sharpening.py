"""Sharp images with few edges from a blurred image and a kernel: the x-step of blind deconvolution."""

from __future__ import annotations

import torch
from torch import Tensor

from basicsr.deconvolution.fourier import difference_power, divergence, gradient, transfer

LARGEST_BETA = 1e5


def sparse_edges(planes: Tensor, kernels: Tensor, weight: Tensor) -> Tensor:
    r"""Minimise :math:`\|k * x - y\|^2 + \lambda \|\nabla x\|_0` over x by half-quadratic splitting.

    Xu, Zheng and Jia, "Unnatural L0 Sparse Representation for Natural Image Deblurring", CVPR 2013, section 3. The
    auxiliary gradient is :math:`\nabla x` where :math:`|\nabla x|^2 \ge \lambda / \beta` and 0 elsewhere; beta starts
    at twice lambda and doubles up to 1e5.

    Args:
        planes: y, (B, H, W) float, periodic, values in [0, 1].
        kernels: k, (B, n, n), sum 1.
        weight: lambda, (B,).

    Returns:
        x, (B, H, W).
    """
    shape = planes.shape[-2:]
    kernel = transfer(kernels, shape)
    data, power = kernel.conj() * torch.fft.rfft2(planes), kernel.real**2 + kernel.imag**2
    slopes = difference_power(shape, planes.device)
    x, weight = planes, weight.reshape(-1, 1, 1)
    beta = 2 * weight
    while float(beta.min()) < LARGEST_BETA:
        across, down = gradient(x)
        keep = across * across + down * down >= weight / beta
        edges = torch.fft.rfft2(divergence(across * keep, down * keep))
        x = torch.fft.irfft2((data + beta * edges) / (power + beta * slopes), s=tuple(shape))
        beta = 2 * beta
    return x
