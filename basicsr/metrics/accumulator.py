"""The mean of a metric over many images and many processes."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist

from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError


class Accumulator:
    """Adds up the scores of one metric; sums and counts (never means) travel between processes.

    The mean is the simple mean over images, as the published tables have it; identical images make a mean
    PSNR infinite and are counted under the mark 'infinite'.

    Args:
        metric: what to compute of each record.

    Example:
        >>> import numpy as np
        >>> from basicsr.metrics import build_metric
        >>> black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 9, np.uint8)
        >>> total = Accumulator(build_metric({'type': 'psnr'}))
        >>> score = total.update(Record(output_uint8=black, gt=grey))
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
        """How many images bear each mark that the metric can give."""
        counts = self._state[2:].tolist()
        return {mark: int(count) for mark, count in zip(self.metric.possible_marks, counts, strict=True)}

    def update(self, record: Record) -> Score:
        """Score one image and add it.

        Args:
            record: one image.

        Returns:
            the score of this image.

        Raises:
            MetricError: the record cannot be scored; nothing is added then.
        """
        score = self.metric(record)
        self.add(score)
        return score

    def add(self, score: Score) -> None:
        """Add a score that was computed elsewhere.

        Args:
            score: of one image.

        Raises:
            MetricError: NaN, or a mark that the metric does not declare.
        """
        self._require_part()
        if math.isnan(score.value):
            raise MetricError(f'{self.metric.name} of an image is NaN; the mean would be NaN as well')
        addition = torch.zeros_like(self._state)
        addition[0], addition[1] = score.value, 1
        for mark in score.marks:
            if mark not in self.metric.possible_marks:
                raise MetricError(f"{self.metric.name} gave the mark '{mark}', which its possible_marks lack")
            addition[2 + self.metric.possible_marks.index(mark)] += 1
        self._state += addition

    def state(self) -> torch.Tensor:
        """A copy of all sums, to be saved or merged elsewhere.

        Returns:
            float64 (2 + marks,): sum, count, and the count of each of the metric's possible marks.
        """
        return self._state.clone()

    def merge(self, state: torch.Tensor) -> None:
        """Add the sums of another accumulator of the same metric.

        Args:
            state: what its ``state()`` returned.

        Raises:
            MetricError: a state of another form.
        """
        self._require_part()
        if state.shape != self._state.shape or state.dtype != torch.float64:
            raise MetricError(
                f'a state of {self.metric.name} is float64 of shape {tuple(self._state.shape)}, '
                f'got {state.dtype} of shape {tuple(state.shape)}'
            )
        self._state += state.cpu()

    def sync(self, group: dist.ProcessGroup | None = None) -> None:
        """Replace the sums by those over all processes; every process must call it, also one without images.

        Without an initialised process group nothing happens.

        Args:
            group: process group; the default group if None.

        Raises:
            MetricError: called a second time (each process would count as many times as there are processes).
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        self._require_part()
        self._is_total = True
        on_gpu = dist.get_backend(group) == 'nccl'  # the one back-end that cannot send CPU tensors
        total = self._state.to(f'cuda:{torch.cuda.current_device()}') if on_gpu else self._state
        dist.all_reduce(total, group=group)
        self._state = total.cpu()

    def compute(self) -> float:
        """The mean over images.

        Raises:
            MetricError: no image was added.
        """
        if self.count == 0:
            raise MetricError(f'{self.metric.name} was given no image; is the data set empty?')
        return self.sum / self.count

    def _require_part(self) -> None:
        if self._is_total:
            raise MetricError(
                f'this {self.metric.name} accumulator holds the sum over all processes already; '
                'make a new one for further images'
            )
