"""The mean of a metric over many images and many processes."""

from __future__ import annotations

import math

import torch.distributed as dist

from basicsr.metrics.average import Average, average
from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError


class Accumulator:
    """Collect the scores of a metric over images and processes for their :class:`~basicsr.metrics.Average`.

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
        self._scores: list[Score] = []
        self._is_total = False

    @property
    def average(self) -> Average:
        """Sum, count and mean of all scores, in the metric's unit."""
        return average(score.value for score in self._scores)

    @property
    def sum(self) -> float:
        """Sum of all scores, in the metric's unit."""
        return self.average.sum

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._scores)

    @property
    def marks(self) -> dict[str, int]:
        """Number of images with each possible mark of the metric."""
        return {mark: sum(mark in score.marks for score in self._scores) for mark in self.metric.possible_marks}

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
            MetricError: NaN, a mark that the metric does not declare, or this accumulator already contains the total.
        """
        self._require_part()
        if math.isnan(score.value):
            raise MetricError(f'{self.metric.name}: the score of an image is NaN')
        if unknown := set(score.marks) - set(self.metric.possible_marks):
            raise MetricError(f'{self.metric.name}: unknown mark {min(unknown)!r}; add it to possible_marks')
        self._scores.append(score)

    def state(self) -> list[Score]:
        """Return the scores, one per image, for :meth:`merge`."""
        return list(self._scores)

    def merge(self, state: list[Score]) -> None:
        """Add the :meth:`state` of another accumulator of the same metric.

        Raises:
            MetricError: as :meth:`add`.
        """
        for score in state:
            self.add(score)

    def sync(self, group: dist.ProcessGroup | None = None) -> None:
        """Collect the scores of all processes; every process must call it, even without images.

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
        parts: list[list[Score]] = [[]] * dist.get_world_size(group)
        dist.all_gather_object(parts, self._scores, group=group)
        self._scores = [score for part in parts for score in part]

    def compute(self) -> float:
        """Return the mean over images.

        Raises:
            MetricError: no image was added.
        """
        mean = self.average.mean
        if mean is None:
            raise MetricError(f'{self.metric.name}: no image was scored; is the data set empty?')
        return mean

    def _require_part(self) -> None:
        if self._is_total:
            raise MetricError(f'{self.metric.name}: this accumulator already contains the scores of all processes')
