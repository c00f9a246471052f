"""PSNR of the output minus PSNR of the blurred input."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from basicsr.metrics.metric import DecibelMetric, Score
from basicsr.metrics.psnr import calculate_psnr
from basicsr.metrics.record import Record
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register(name='psnr_gain')
class PSNRGain(DecibelMetric):
    """PSNR of the rounded output minus that of the blurred input, both against the ground truth.

    Both PSNRs are limited to that of rounding itself (mean squared error 1/12 in gray levels; 58.92 dB for 8 bits), so
    the gain on images that are already sharp is at most 0 and never infinite.

    Args:
        crop_border: number of pixels to crop on each side.
    """

    name: ClassVar[str] = 'psnr_gain'
    variant = 'PSNR gain'
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt', 'lq')
    scores_input: ClassVar[bool] = False  # always 0

    def __init__(self, crop_border: int = 0) -> None:
        self.crop_border = crop_border

    def score(self, record: Record) -> Score:
        """Return the gain; channels of ``lq`` beyond those of ``gt`` are ignored."""
        gt = record.array('gt')
        most = 20 * math.log10(np.iinfo(gt.dtype).max) + 10 * math.log10(12)
        after = calculate_psnr(record.array('output_uint8'), gt, self.crop_border)
        before = calculate_psnr(record.array('lq')[..., : gt.shape[2]], gt, self.crop_border)
        return Score(min(after, most) - min(before, most))
