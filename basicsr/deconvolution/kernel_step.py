"""Kernels from the edges of a sharp image: the k-step of blind deconvolution."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.fft import next_fast_len
from torch import Tensor

from basicsr.deconvolution.fourier import gradient, transfer
from basicsr.images.arrays import Array

RIDGE = 2.0
"""Weight of the squared kernel (gamma)."""
ROUNDS = 20
LEAST = 1 / 20
"""Values below this part of the largest are removed from a kernel."""
_BINS = 4


def inner_mask(size: tuple[int, int], shape: tuple[int, ...], border: int, like: Tensor) -> Tensor:
    """Return 1 for pixels at least ``border`` pixels inside an image of ``size``, 0 elsewhere, as (H, W) ``shape``."""
    mask = torch.zeros(shape[-2:], device=like.device, dtype=like.dtype)
    mask[border : size[0] - border, border : size[1] - border] = 1
    return mask


def first_threshold(across: Tensor, down: Tensor, size: int) -> Tensor:
    """Return the largest threshold that keeps 2n gradients in each of four ranges of orientation.

    Cho and Lee, "Fast Motion Deblurring", SIGGRAPH Asia 2009, section 4.

    Args:
        across: horizontal gradients (B, H, W).
        down: vertical gradients of the same shape.
        size: n, side of the kernel.

    Returns:
        (B,).
    """
    length = torch.hypot(across, down).flatten(1)
    ranges = (
        (torch.atan2(down, across).remainder(torch.pi) / (torch.pi / _BINS)).long().clamp_(max=_BINS - 1).flatten(1)
    )
    number = min(2 * size + 1, length.shape[1])
    ranked = [torch.where(ranges == i, length, 0).topk(number).values[:, -1] for i in range(_BINS)]
    return torch.stack(ranked).amin(0)


def fitted_kernels(
    x: Tensor, mask: Tensor, observed: tuple[Tensor, Tensor], size: int, threshold: Tensor, kernels: Tensor
) -> Tensor:
    r"""Minimise :math:`\sum_d \|\partial_d x * k - \partial_d y\|^2 + \gamma \|k\|^2` by conjugate gradients.

    Only gradients of x above the threshold count. Cho and Lee 2009, equation 10; the products with the normal matrix
    need the autocorrelation of the gradients at shifts smaller than n alone, so they are cheap.

    Args:
        x: (B, H, W), periodic.
        mask: (H, W), 0 for pixels that do not count.
        observed: transfer functions of the masked horizontal and vertical gradients of y.
        size: n, side of the kernels.
        threshold: (B,).
        kernels: first guess (B, n, n).

    Returns:
        (B, n, n), cleaned up: not negative, sum 1.
    """
    across, down = (part * mask for part in gradient(x))
    keep = across * across + down * down >= threshold.reshape(-1, 1, 1) ** 2
    spectra = torch.fft.rfft2(across * keep), torch.fft.rfft2(down * keep)
    shape = tuple(x.shape[-2:])
    power = sum(spectrum.real**2 + spectrum.imag**2 for spectrum in spectra)
    matrix = _centred(torch.fft.irfft2(power, s=shape), 2 * size - 1)
    product = sum(spectrum.conj() * other for spectrum, other in zip(spectra, observed, strict=True))
    right = _centred(torch.fft.irfft2(product, s=shape), size)
    return clean(_conjugate_gradients(matrix, right, kernels))


def _centred(planes: Tensor, side: int) -> Tensor:
    """Return the shifts from -side // 2 to side // 2 of a correlation (B, H, W) as (B, side, side), float64.

    They are few, and Apple GPUs lack float64: from there, they go to the CPU.
    """
    half = side // 2
    centre = planes.roll((half, half), (-2, -1))[..., :side, :side]
    return (centre.cpu() if centre.device.type == 'mps' else centre).double()


def _conjugate_gradients(matrix: Tensor, right: Tensor, kernels: Tensor) -> Tensor:
    """Solve (matrix * k) + gamma k = right, with a convolution restricted to the support of k."""
    size = right.shape[-1]
    side = next_fast_len(3 * size - 2, real=True)
    spectrum = transfer(matrix, (side, side))

    def product(k: Tensor) -> Tensor:
        padded = torch.fft.rfft2(F.pad(k, (0, side - size, 0, side - size)))
        convolved: Tensor = torch.fft.irfft2(spectrum * padded, s=(side, side))
        return convolved[..., :size, :size] + RIDGE * k

    k = kernels.to(right)
    residual = right - product(k)
    direction, norm = residual, (residual**2).sum((-2, -1), keepdim=True)
    for _ in range(ROUNDS):
        moved = product(direction)
        step = norm / (direction * moved).sum((-2, -1), keepdim=True).clamp_min(1e-20)
        k, residual = k + step * direction, residual - step * moved
        new = (residual**2).sum((-2, -1), keepdim=True)
        direction, norm = residual + new / norm.clamp_min(1e-30) * direction, new
    return k.to(kernels)


def clean(kernels: Tensor) -> Tensor:
    """Remove negative and small values and small separate parts, and normalise the sum to 1.

    Pan, Hu, Su and Yang, "Deblurring Text Images via L0-Regularized Intensity and Gradient Prior", CVPR 2014. A kernel
    without positive values becomes the identity.

    Args:
        kernels: (B, n, n).
    """
    arrays = np.nan_to_num(kernels.cpu().numpy()).clip(0)
    return torch.from_numpy(np.stack([_cleaned(array) for array in arrays])).to(kernels)


def _cleaned(kernel: Array) -> Array:
    if kernel.sum() <= 1e-9:
        kernel = np.zeros_like(kernel)
        kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
        return kernel
    kernel = np.where(kernel < kernel.max() * LEAST, 0, kernel)
    parts, number = ndimage.label(kernel, np.ones((3, 3)))
    sums = ndimage.sum_labels(kernel, parts, np.arange(number + 1))
    kernel = np.where(sums[parts] < min(kernel.sum() / 10, sums.max()), 0, kernel)
    return np.asarray(kernel / kernel.sum())


def centred(kernels: Tensor) -> Tensor:
    """Move the centre of mass of kernels (B, n, n) to the middle, by whole pixels."""
    rows, columns = offsets(kernels)
    moves = zip(kernels, rows.round().int().tolist(), columns.round().int().tolist(), strict=True)
    return torch.stack([moved(kernel, -row, -column) for kernel, row, column in moves])


def moved(kernel: Tensor, rows: int, columns: int) -> Tensor:
    """Move a kernel (n, n) by whole pixels; what leaves the support is lost, and the sum is 1 again."""
    size = kernel.shape[-1]
    padded = F.pad(kernel, (abs(columns),) * 2 + (abs(rows),) * 2)
    top, left = abs(rows) - rows, abs(columns) - columns
    cut = padded[top : top + size, left : left + size]
    return cut / cut.sum().clamp_min(1e-12)


def offsets(kernels: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the centre of mass of kernels (B, n, n) is below and right of the middle, in pixels, (B,) each."""
    at = torch.arange(kernels.shape[-1], device=kernels.device) - kernels.shape[-1] // 2
    return (kernels.sum(-1) * at).sum(-1), (kernels.sum(-2) * at).sum(-1)
