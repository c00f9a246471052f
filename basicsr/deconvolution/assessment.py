"""Decide whether a kernel explains a window of a photo, and what kind of blur a photo has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from basicsr.deconvolution.numbers import KernelNumbers

BlurKind = Literal['sharp', 'uniform', 'varying', 'unknown']
LARGER_BLUR = 'the blur is larger than the kernel'
_STRONGEST = 0.05


@dataclass(frozen=True)
class Limits:
    """Limits of a kernel that is accepted. docs/deconvolution.md tells how they were chosen.

    Args:
        sharp: windows with a :func:`blur_ratio` below this are sharp.
        least_blur: the blur of windows with a ratio below this is too small for a kernel.
        least_contrast: standard deviation of the window, in gray levels of 255.
        white: of the residual, at most.
        peak: of the kernel, at most.
        least_spread: of the kernel in pixels.
        edge: share of the kernel at its border, at most.
        residual: of the window, at most, in gray levels of 255.
        excess: share of values beyond black and white, at most.
        least_agreement: with overlapping windows, see :class:`WindowBlur`.
        least_share: of the windows that must be accepted; otherwise none is.
    """

    sharp: float = 1.15
    least_blur: float = 1.45
    least_contrast: float = 4.0
    white: float = 0.45
    peak: float = 0.08
    least_spread: float = 1.8
    edge: float = 0.15
    residual: float = 2.8
    excess: float = 0.02
    least_agreement: float = 0.86
    least_share: float = 0.5

    def relaxed(self) -> Limits:
        """Return the limits of further windows of a photo in which enough windows meet these."""
        return replace(self, least_blur=1.3, white=0.5, peak=0.1, edge=0.2, least_agreement=0.75)


LIMITS = Limits()


def blur_ratio(gray: Tensor) -> float:
    """Return how much steeper edges become when an image is scaled to half its size: about 1 (sharp) to 2 (blurred).

    The largest ratio of four directions counts, since motion blurs edges across its direction only.

    Args:
        gray: (H, W) float, at least 16 pixels on each side.
    """
    pairs = zip(_slopes(gray), _slopes(F.avg_pool2d(gray[None, None], 2)[0, 0]), strict=True)
    return max(half / max(full, 1e-6) for full, half in pairs)


def _slopes(gray: Tensor) -> list[float]:
    """Return the mean of the steepest 5 % of the central differences in four directions."""
    before, middle, after = slice(None, -2), slice(1, -1), slice(2, None)
    steps = (
        gray[middle, after] - gray[middle, before],
        gray[after, middle] - gray[before, middle],
        (gray[after, after] - gray[before, before]) / 2**0.5,
        (gray[after, before] - gray[before, after]) / 2**0.5,
    )
    number = max(int(steps[0].numel() * _STRONGEST), 1)
    return [float(step.abs().flatten().topk(number).values.mean()) for step in steps]


def refusal(ratio: float, numbers: KernelNumbers, limits: Limits = LIMITS) -> str:
    """Return why a kernel does not explain a window with this :func:`blur_ratio`; empty if it does."""
    if ratio < limits.least_blur or numbers.peak > limits.peak or numbers.spread < limits.least_spread:
        return 'the blur is too small'
    if numbers.edge > limits.edge:
        return LARGER_BLUR
    if numbers.white > limits.white or numbers.residual > limits.residual:
        return 'one kernel does not explain the blur'
    if numbers.excess > limits.excess:
        return 'the result rings'
    if numbers.agreement < limits.least_agreement:
        return 'overlapping windows disagree'
    return ''
