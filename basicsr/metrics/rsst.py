"""PSNR and SSIM as RSS-T defines them: neither clipped nor rounded, on the image or a third of its rows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from basicsr.metrics.arrays import Array, image_pair, unit_float
from basicsr.metrics.metric import Metric, Score, decibels
from basicsr.metrics.psnr import mean_squared_error, psnr_of_error
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import ssim_map
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

Rows = Literal['all', 'top', 'middle', 'bottom']
_THIRDS = ('top', 'middle', 'bottom')


class _RowMetric(Metric):
    """What both share: which rows are scored.

    Args:
        rows: 'all', or a third of the rows (the lower, the longer exposed and the more blurred).
    """

    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, rows: Rows = 'all') -> None:
        self.rows: Rows = rows

    def _of_rows(self, record: Record) -> tuple[Array, Array]:
        output: Any = record.array('output')
        gt = unit_float(record.array('gt'), "the record's gt")
        output, gt = image_pair(np.asarray(output, np.float32), gt, 0, 'HWC')
        if self.rows == 'all':
            return output, gt
        third, number = len(gt) // 3, _THIRDS.index(self.rows)
        if third == 0:
            raise MetricError(f'{self.name}: an image of {len(gt)} rows has no thirds')
        part = slice(number * third, None if number == 2 else (number + 1) * third)
        return output[part], gt[part]

    def _title(self, what: str) -> str:
        return what if self.rows == 'all' else f'{what}, {self.rows} third'


@METRIC_REGISTRY.register(name='psnr_rsst')
class PSNRofRSST(_RowMetric):
    """PSNR of the network's output as it is, not clipped to [0, 1] (RSS-T's evaluation).

    Args:
        rows: see the base class: 'all', 'top', 'middle' or 'bottom' third.
    """

    name: ClassVar[str] = 'psnr_rsst'
    unit: ClassVar[str] = 'dB'
    decimals: ClassVar[int] = 2

    @property
    def variant(self) -> str:
        """That nothing is clipped, and which rows."""
        return self._title('PSNR not clipped')

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth divided by its range.

        Args:
            record: one image.
        """
        return decibels(psnr_of_error(mean_squared_error(*self._of_rows(record)), 1.0))


@METRIC_REGISTRY.register(name='ssim_rsst')
class SSIMofRSST(_RowMetric):
    """3-D SSIM of the network's output as it is, not clipped to [0, 1] (RSS-T's evaluation), data range 1.

    Args:
        rows: see the base class: 'all', 'top', 'middle' or 'bottom' third.
    """

    name: ClassVar[str] = 'ssim_rsst'

    @property
    def variant(self) -> str:
        """That nothing is clipped, and which rows."""
        return self._title('SSIM 3-D not clipped')

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth divided by its range.

        Args:
            record: one image.
        """
        output, gt = self._of_rows(record)
        return Score(float(ssim_map(output, gt, 1.0, volume=True).mean()))
