"""PSNR and SSIM as defined by RSS-T: without clipping or rounding, on the image or a third of its rows."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import image_pair, unit_float
from basicsr.metrics.metric import DecibelMetric, Metric, Score, decibels
from basicsr.metrics.psnr import mean_squared_error, psnr_of_error
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import calculate_ssim
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

Rows = Literal['all', 'top', 'middle', 'bottom']
_THIRDS = ('top', 'middle', 'bottom')


class _RowMetric(Metric):
    """Base class with the selection of rows.

    Args:
        rows: 'all', or a third of the rows (lower rows are exposed longer and more blurred).
    """

    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')
    title: ClassVar[str]

    def __init__(self, rows: Rows = 'all') -> None:
        self.rows: Rows = rows

    @property
    def variant(self) -> str:
        """Name of the metric with the selected rows."""
        return self.title if self.rows == 'all' else f'{self.title}, {self.rows} third'

    def _of_rows(self, record: Record) -> tuple[Array, Array]:
        output, gt = record.array('output').astype(np.float32), unit_float(record.array('gt'), "the record's gt")
        output, gt = image_pair(output, gt, 0, 'HWC')
        if self.rows == 'all':
            return output, gt
        third, number = len(gt) // 3, _THIRDS.index(self.rows)
        if third == 0:
            raise MetricError(f'{self.name}: cannot split an image of {len(gt)} rows into thirds')
        part = slice(number * third, None if number == 2 else (number + 1) * third)
        return output[part], gt[part]


@METRIC_REGISTRY.register(name='psnr_rsst')
class PSNRofRSST(_RowMetric, DecibelMetric):
    """PSNR of the network's output as it is, not clipped to [0, 1] (RSS-T's evaluation).

    Args:
        rows: rows to score: 'all', or the 'top', 'middle' or 'bottom' third.
    """

    name: ClassVar[str] = 'psnr_rsst'
    title = 'PSNR not clipped'

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range."""
        return decibels(psnr_of_error(mean_squared_error(*self._of_rows(record)), 1.0))


@METRIC_REGISTRY.register(name='ssim_rsst')
class SSIMofRSST(_RowMetric):
    """3-D SSIM of the network's output as it is, not clipped to [0, 1] (RSS-T's evaluation), data range 1.

    Args:
        rows: rows to score: 'all', or the 'top', 'middle' or 'bottom' third.
    """

    name: ClassVar[str] = 'ssim_rsst'
    title = 'SSIM 3-D not clipped'

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range."""
        output, gt = self._of_rows(record)
        return Score(calculate_ssim(output, gt, data_range=1.0, device=record.device))
