"""Estimate blur kernels from gray images, from coarse to fine scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.deconvolution.fourier import gradient, periodic
from basicsr.deconvolution.kernel_step import centred, first_threshold, fitted_kernels, inner_mask
from basicsr.deconvolution.sharpening import sparse_edges

FACTOR = 1 / math.sqrt(2)
ROUNDS = 5
SMALLEST_LAMBDA = 1e-4

Step = Callable[[], None]


@dataclass(frozen=True)
class Stage:
    """Kernels of one scale.

    Args:
        kernels: (B, n, n), not negative, sum 1, centred.
        weights: (B,), weight of the number of edges (lambda) for the next scale.
        scale: number of times that the image was reduced by the square root of 2; 0 is the full size.
    """

    kernels: Tensor
    weights: Tensor
    scale: int

    def only(self, index: int) -> Stage:
        """Return one of the kernels."""
        return Stage(self.kernels[index : index + 1], self.weights[index : index + 1], self.scale)


def estimate_kernels(
    gray: Tensor,
    size: int,
    weights: Tensor | None = None,
    *,
    start: Stage | None = None,
    stop: int = 0,
    step: Step = lambda: None,
) -> Stage:
    """Estimate blur kernels, from a coarse scale to a fine one.

    On each scale, alternate between a sharp image with few edges (:func:`~basicsr.deconvolution.sharpening.\
sparse_edges`) and the kernel that maps its edges to the blurred ones (:func:`~basicsr.deconvolution.kernel_step.\
fitted_kernels`). Coarse to fine as in Cho and Lee 2009; the steps as in Xu, Zheng and Jia 2013 and Pan et al. 2014.

    Args:
        gray: (B, H, W) float in [0, 1], or (1, H, W) for several weights.
        size: side of the kernels at full size, odd.
        weights: (B,), weight of the number of edges (lambda), for example 4e-3; without ``start`` only.
        start: result of a coarser scale to continue from.
        stop: scale to end with, see :class:`Stage`.
        step: called after each round; may raise to stop.
    """
    coarsest = _coarsest(size)
    if start is None:
        assert weights is not None  # noqa: S101
        side = _side(size, coarsest)
        kernels = gray.new_zeros(weights.shape[0], side, side)
        kernels[:, side // 2, side // 2 - 1 : side // 2 + 1] = 0.5
        start = Stage(kernels, weights, coarsest + 1)
    stage = start
    for scale in range(start.scale - 1, stop - 1, -1):
        side, kernels = _side(size, scale), stage.kernels
        if kernels.shape[-1] != side:
            kernels = F.interpolate(kernels[:, None], (side, side), mode='bilinear')[:, 0]
            kernels = kernels / kernels.sum((-2, -1), keepdim=True)
        small = reduced(gray, scale).expand(kernels.shape[0], -1, -1)
        stage = Stage(*_on_scale(small, kernels, stage.weights, step), scale)
    return stage


def _on_scale(gray: Tensor, kernels: Tensor, weight: Tensor, step: Step) -> tuple[Tensor, Tensor]:
    """Improve kernels on one scale; return them and the weight for the next."""
    size, planes = kernels.shape[-1], periodic(gray, 2 * kernels.shape[-1])
    mask = inner_mask((gray.shape[-2], gray.shape[-1]), planes.shape, size // 2 + 1, planes)
    across, down = gradient(planes)
    observed = torch.fft.rfft2(across * mask), torch.fft.rfft2(down * mask)
    threshold = None
    for _ in range(ROUNDS):
        x = sparse_edges(planes, kernels, weight)
        if threshold is None:
            sideways, vertical = gradient(x)
            threshold = first_threshold(sideways * mask, vertical * mask, size)
        kernels = fitted_kernels(x, mask, observed, size, threshold, kernels)
        threshold, weight = threshold / 1.1, (weight / 1.1).clamp_min(SMALLEST_LAMBDA)
        step()
    return centred(kernels), weight


def rounds(size: int, stop: int = 0) -> int:
    """Return the number of rounds of :func:`estimate_kernels` from the coarsest scale on."""
    return ROUNDS * max(_coarsest(size) - stop + 1, 0)


def _coarsest(size: int) -> int:
    return max(math.floor(math.log(5 / size) / math.log(FACTOR)), 0)


def odd(number: int) -> int:
    """Return the number, or the next if it is even."""
    return number + 1 - number % 2


def _side(size: int, scale: int) -> int:
    return odd(max(round(size * FACTOR**scale), 3))


def reduced(planes: Tensor, scale: int) -> Tensor:
    """Scale images (B, H, W) down to a scale, see :class:`Stage`, with antialiasing."""
    if not scale:
        return planes
    size = [max(round(side * FACTOR**scale), 1) for side in planes.shape[-2:]]
    return F.interpolate(planes[:, None], size, mode='bilinear', antialias=True, align_corners=False)[:, 0]
