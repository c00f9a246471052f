"""What deblurring gained: PSNR of the output minus PSNR of the blurred input."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.psnr import calculate_psnr
from basicsr.metrics.record import Record
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register(name='psnr_gain')
class PSNRGain(Metric):
    """PSNR of the rounded output minus that of the blurred input, both against the ground truth.

    A PSNR above that of rounding itself (a mean squared error of 1/12, in grey levels; 58.92 dB for 8 bits) counts as
    that: images that are sharp already have a gain of 0 or less, and never an infinite one.

    Args:
        crop_border: pixels left out on each side.
    """

    name: ClassVar[str] = 'psnr_gain'
    unit: ClassVar[str] = 'dB'
    decimals: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt', 'lq')
    scores_input: ClassVar[bool] = False  # zero

    def __init__(self, crop_border: int = 0) -> None:
        self.crop_border = crop_border

    @property
    def variant(self) -> str:
        """That it is a difference."""
        return 'PSNR gain'

    def score(self, record: Record) -> Score:
        """Output against ground truth, minus input against ground truth.

        Args:
            record: one image; channels of ``lq`` beyond those of ``gt`` are left out.
        """
        gt = record.array('gt')
        most = 20 * math.log10(np.iinfo(gt.dtype).max) + 10 * math.log10(12)
        after = calculate_psnr(record.array('output_uint8'), gt, self.crop_border)
        before = calculate_psnr(record.array('lq')[..., : gt.shape[2]], gt, self.crop_border)
        return Score(min(after, most) - min(before, most))
