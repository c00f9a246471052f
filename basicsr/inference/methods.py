"""Choose between the network, blur kernels and the photo itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.deconvolution.functions import BlurAssessment, assessment_of
from basicsr.deconvolution.kernels import resized_kernel
from basicsr.deconvolution.nonblind import deconvolved
from basicsr.deconvolution.photos import MAX_KERNELS, Progress, find_blur, scaled, with_kernels
from basicsr.images.arrays import Array
from basicsr.inference.restoring import Restored

Method = Literal['auto', 'network', 'kernel']


@dataclass(frozen=True)
class KernelSettings:
    """How kernels are estimated.

    Args:
        max_kernels: largest number of windows with kernels of their own.
        force: use every kernel, also those that do not explain the photo.
        progress: called with the finished and the total number of rounds; may raise to stop.
    """

    max_kernels: int = MAX_KERNELS
    force: bool = False
    progress: Progress = lambda done, total: None


@dataclass(frozen=True)
class Choice:
    """A restored photo and the method that was chosen.

    Args:
        restored: the photo; not clamped.
        method: ``network``, ``kernel``, ``kernel and network`` or ``photo`` (unchanged).
        explanation: why, in words.
        kernel: (n, n) float32, not negative, sum 1: the kernel that explains the photo best; None without one.
        assessment: of the blur; None if it was not assessed.
    """

    restored: Restored
    method: str
    explanation: str = ''
    kernel: Array | None = None
    assessment: BlurAssessment | None = None

    def enlarged(self, factor: float) -> Choice:
        """Return the choice for a smaller copy as that for a photo larger by a factor, with kernels in its pixels."""
        if factor == 1 or self.method == 'network':  # whose kernel may be a code
            return self
        kernel = None if self.kernel is None else resized_kernel(self.kernel, factor)
        assessment = self.assessment
        if assessment is not None:
            numbers = {**assessment.numbers, 'scale': assessment.numbers['scale'] / factor}
            assessment = replace(assessment, kernel=kernel, numbers=numbers)
        return replace(self, kernel=kernel, assessment=assessment)


def by_kernels(lq: Tensor, network: Callable[[], Restored] | None, settings: KernelSettings) -> Choice:
    """Deconvolve the windows of a photo that kernels explain.

    Args:
        lq: (1, C, H, W) float in [0, 1], C = 1 or 3 (RGB).
        network: restores the photo where no kernel explains it; None leaves it unchanged there.
        settings: of the kernels.
    """
    with torch.inference_mode():
        blur = find_blur(lq[0], max_kernels=settings.max_kernels, force=settings.force, progress=settings.progress)
    found = assessment_of(blur)
    everywhere = len(blur.used) == len(blur.windows)
    elsewhere = Restored(lq)
    if network is not None and not everywhere and blur.kind != 'sharp':
        elsewhere = network()
    image = elsewhere.image
    if blur.used:
        with torch.inference_mode():
            image = with_kernels(lq[0], blur, image[0, : lq.shape[1]])[None]
    rest = 'photo' if elsewhere.image is lq else 'network'
    method = rest if not blur.used else 'kernel' if everywhere or rest == 'photo' else 'kernel and network'
    explanation = 'kernels are used without checks' if settings.force and blur.used else found.explanation
    if blur.used and not everywhere:
        explanation += ', the network is used elsewhere' if rest == 'network' else ', the rest is unchanged'
    restored = Restored(image, elsewhere.tile, None, elsewhere.finding, elsewhere.remedy, elsewhere.repaired)
    return Choice(restored, method, explanation, found.kernel, found)


def by_known_kernel(lq: Tensor, kernel: Array, explanation: str) -> Choice:
    """Deconvolve a photo.

    Args:
        lq: (1, C, H, W) float in [0, 1].
        kernel: from :func:`~basicsr.deconvolution.kernels.check_kernel`.
        explanation: where the kernel comes from, in words.
    """
    with torch.inference_mode():
        known = torch.from_numpy(kernel).to(lq.device)
        image = torch.cat([deconvolved(plane[None], known) for plane in lq[0]])[None]  # one by one, to save memory
    return Choice(Restored(image), 'kernel', explanation, kernel)


def reduced(lq: Tensor, scale: float) -> Tensor:
    """Scale a photo (1, C, H, W) down with antialiasing; 1 returns it unchanged."""
    return lq if scale >= 1 else scaled(lq[0], scale)[None].clamp(0, 1)


def with_change(lq: Tensor, small: Tensor, result: Tensor, strength: float) -> Tensor:
    """Add the change of a smaller copy of a photo to the photo.

    Args:
        lq: (1, C, H, W).
        small: (1, C, h, w), the smaller copy.
        result: of the copy, of the same shape.
        strength: factor of the change, 0 to 1.
    """
    change = result - small
    if change.shape[-2:] != lq.shape[-2:]:
        change = F.interpolate(change, lq.shape[-2:], mode='bicubic', align_corners=False)
    return lq + strength * change
