"""The result of deblurring an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basicsr.deconvolution.functions import BlurAssessment
from basicsr.images.arrays import Array
from basicsr.inference.collapse_guard import Finding


@dataclass(frozen=True)
class Deblurred:
    """A deblurred image and how it was made.

    Args:
        image: of the same type, shape and dtype as the input.
        labels: label map (L, H, W) that the network used; None if it takes no masks.
        kernel: (h, w) float32, not negative, sum 1, in pixels of the image: blur kernel of the whole image, or the one
            that explains its part best; None if none was estimated. A pair of networks trained jointly may return a
            feature map without physical meaning instead.
        seconds: for masks, network and guard.
        mask_seconds: of these, for the masks.
        tile: side of the tiles in pixels; None if the image was restored whole.
        finding: collapse of the first attempt; None if there was none or the guard is off.
        remedy: how the collapse was handled; empty without a collapse.
        repaired: share of the image that shows the input, because every attempt collapsed there.
        method: ``network``, ``kernel``, ``kernel and network`` or ``photo`` (unchanged).
        explanation: why, in words; empty if the method was requested.
        assessment: of the blur; None if it was not assessed.
    """

    image: Any
    labels: Array | None = None
    kernel: Array | None = None
    seconds: float = 0.0
    mask_seconds: float = 0.0
    tile: int | None = None
    finding: Finding | None = None
    remedy: str = ''
    repaired: float = 0.0
    method: str = 'network'
    explanation: str = ''
    assessment: BlurAssessment | None = None

    @property
    def warning(self) -> str:
        """Message about a collapse for the user; empty without one."""
        return f'{self.finding.text()}; {self.remedy}' if self.finding else ''
