"""Find the kernel that explains an image best, among several settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from basicsr.deconvolution.estimation import ROUNDS, Stage, Step, estimate_kernels, odd, reduced, rounds
from basicsr.deconvolution.nonblind import deconvolved
from basicsr.deconvolution.numbers import KernelNumbers, edge_share, numbers_of, residuals, whiteness

SIZES = ((21, 31), (45,), (65,))
"""Sides of kernels to try, in pixels: those of the first group, then the next while the kernel touches its border."""
LAMBDAS = (1e-3, 4e-3, 1.6e-2)
"""Weights of the number of edges: small for fine texture, large for plain images."""
TOUCHING = 0.02
"""Share of a kernel in its outer two rows and columns from which it is too small for the blur."""
SEARCH_WEIGHT = 2e-3
"""Weight of the gradients when settings are compared, see :func:`~basicsr.deconvolution.nonblind.deconvolved`."""
QUICK_SCALE = 2
"""Scale on which the quick search compares settings: half the size."""


@dataclass(frozen=True)
class Found:
    """A kernel and how well it explains the image.

    Args:
        kernel: (n, n), not negative, sum 1, centred.
        numbers: see :class:`~basicsr.deconvolution.numbers.KernelNumbers`.
        sharp: (H, W), the deconvolved image.
    """

    kernel: Tensor
    numbers: KernelNumbers
    sharp: Tensor


@dataclass(frozen=True)
class _Try:
    """Kernels (1, n, n) of one setting, and the whiteness of their residual."""

    white: float
    size: int
    stage: Stage


def find_kernel(gray: Tensor, size: int | None = None, *, quick: bool = False, step: Step = lambda: None) -> Found:
    """Estimate the blur kernel of a gray image with several settings, and keep the one of the whitest residual.

    The settings are the size and the weight of the number of edges. The whiteness of the residual chooses well between
    them (Almeida and Figueiredo 2013).

    Args:
        gray: (H, W) float in [0, 1], at least 32 pixels on each side.
        size: side of the kernel; None tries 21 and 31, and grows it to at most 65 while the kernel touches its border.
        quick: compare the settings at half the size, and estimate at full size once.
        step: called between steps; may raise to stop.
    """
    groups, largest = _sizes(gray, size)
    best: _Try | None = None
    for group in groups:
        found = _search(gray[None], list(dict.fromkeys(group)), quick, step)
        best = found if best is None or found.white < best.white else best
        if float(edge_share(found.stage.kernels)) < TOUCHING or largest in group:
            break
    assert best is not None  # noqa: S101
    kernel = best.stage.kernels[0]
    return Found(kernel, *numbers_of(gray, kernel, SEARCH_WEIGHT))


def usual_rounds(gray: Tensor, quick: bool) -> int:
    """Return how often :func:`find_kernel` calls ``step``, unless the kernel grows or its size is known."""
    sizes = dict.fromkeys(_sizes(gray, None)[0][0])
    if not quick:
        return sum(rounds(each) for each in sizes)
    return sum(rounds(each, QUICK_SCALE) for each in sizes) + ROUNDS * QUICK_SCALE


def _sizes(gray: Tensor, size: int | None) -> tuple[list[list[int]], int]:
    """Return groups of sides of kernels to try, and the largest for the image."""
    largest = odd(min(gray.shape) // 3 - 1)
    groups = [[min(each, largest) for each in group] for group in SIZES] if size is None else [[odd(size)]]
    return groups, largest


def _search(gray: Tensor, sizes: list[int], quick: bool, step: Step) -> _Try:
    stop = QUICK_SCALE if quick else 0
    small, weights = reduced(gray, stop), torch.tensor(LAMBDAS, device=gray.device)
    stages = ((size, estimate_kernels(gray, size, weights, stop=stop, step=step)) for size in sizes)
    best = min((_whitest(small, size, stage) for size, stage in stages), key=lambda each: each.white)
    if not stop:
        return best
    return _whitest(gray, best.size, estimate_kernels(gray, best.size, start=best.stage, step=step))


def _whitest(gray: Tensor, size: int, stage: Stage) -> _Try:
    """Return the kernel of the whitest residual."""
    planes = gray.expand(stage.kernels.shape[0], -1, -1)
    sharp = deconvolved(planes[:, None], stage.kernels, SEARCH_WEIGHT)[:, 0]
    white = whiteness(residuals(planes, sharp, stage.kernels))
    index = int(white.argmin())
    return _Try(float(white[index]), size, stage.only(index))
