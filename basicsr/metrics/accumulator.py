"""The mean of a metric over many images and many processes."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist

from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError


class Accumulator:
    """Add up the scores of a metric over images and processes.

    The mean is the simple mean over images, as in the published tables. Identical images make a mean PSNR infinite, and
    the mark 'infinite' counts them.

    Args:
        metric: scores each record.

    Example:
        >>> import numpy as np
        >>> from basicsr.metrics import build_metric
        >>> black, gray = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 9, np.uint8)
        >>> total = Accumulator(build_metric({'type': 'psnr'}))
        >>> score = total.update(Record(output_uint8=black, gt=gray))
        >>> total.count, round(total.compute(), 3)
        (1, 29.046)
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._state = torch.zeros(2 + len(metric.possible_marks), dtype=torch.float64)
        self._is_total = False

    @property
    def sum(self) -> float:
        """Sum of all scores, in the metric's unit."""
        return float(self._state[0])

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self._state[1])

    @property
    def marks(self) -> dict[str, int]:
        """Number of images with each possible mark of the metric."""
        return dict(zip(self.metric.possible_marks, map(int, self._state[2:].tolist()), strict=True))

    def update(self, record: Record) -> Score:
        """Score an image, add the score and return it.

        Raises:
            MetricError: the record cannot be scored; nothing is added.
        """
        score = self.metric(record)
        self.add(score)
        return score

    def add(self, score: Score) -> None:
        """Add a score that was computed elsewhere.

        Raises:
            MetricError: NaN, or a mark that the metric does not declare.
        """
        if math.isnan(score.value):
            raise MetricError(f'{self.metric.name}: the score of an image is NaN')
        if unknown := set(score.marks) - set(self.metric.possible_marks):
            raise MetricError(f'{self.metric.name}: unknown mark {min(unknown)!r}; add it to possible_marks')
        marks = [float(mark in score.marks) for mark in self.metric.possible_marks]
        self.merge(torch.tensor([score.value, 1.0, *marks], dtype=torch.float64))

    def state(self) -> torch.Tensor:
        """Return a copy of all sums, float64 (2 + marks,): sum, count, and the count of each possible mark."""
        return self._state.clone()

    def merge(self, state: torch.Tensor) -> None:
        """Add the :meth:`state` of another accumulator of the same metric.

        Raises:
            MetricError: a state of another shape or type, or this accumulator already contains the total.
        """
        self._require_part()
        if state.shape != self._state.shape or state.dtype != torch.float64:
            shape, found = tuple(self._state.shape), tuple(state.shape)
            raise MetricError(f'{self.metric.name}: expected float64 of shape {shape}, got {state.dtype} {found}')
        self._state += state.cpu()

    def sync(self, group: dist.ProcessGroup | None = None) -> None:
        """Replace the sums by those over all processes; every process must call it, even without images.

        Without an initialized process group, nothing happens.

        Args:
            group: process group; None is the default group.

        Raises:
            MetricError: called twice.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        self._require_part()
        self._is_total = True
        on_gpu = dist.get_backend(group) == 'nccl'  # the one backend that cannot send CPU tensors
        total = self._state.to(f'cuda:{torch.cuda.current_device()}') if on_gpu else self._state
        dist.all_reduce(total, group=group)
        self._state = total.cpu()

    def compute(self) -> float:
        """Return the mean over images.

        Raises:
            MetricError: no image was added.
        """
        if not self.count:
            raise MetricError(f'{self.metric.name}: no image was scored; is the data set empty?')
        return self.sum / self.count

    def _require_part(self) -> None:
        if self._is_total:
            raise MetricError(f'{self.metric.name}: this accumulator already contains the sum over all processes')
