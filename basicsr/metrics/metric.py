"""The base class of metrics, and their scores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import DataRange, swap_red_and_blue, unit_float
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError

INFINITE = 'infinite'


@dataclass(frozen=True)
class Score:
    """The score of one image.

    Args:
        value: in the metric's unit.
        marks: remarks for readers of a table, such as 'not_aligned'.
    """

    value: float
    marks: tuple[str, ...] = ()


class Metric(ABC):
    """Base class of the metrics in option files.

    The constructor arguments of a subclass are the keys of its block. Its class attributes describe it: ``name``
    (registry key), ``unit``, ``decimals`` (as in published tables), ``higher_is_better``, ``reads`` (required fields of
    the record), ``scores_input`` (whether tables list the score of the blurred input),
    ``cumulative`` (whether reports draw its cumulative histogram) and ``possible_marks`` (all marks of its scores).
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ''
    decimals: ClassVar[int] = 4
    higher_is_better: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt')
    scores_input: ClassVar[bool] = True
    cumulative: ClassVar[bool] = False
    possible_marks: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def variant(self) -> str:
        """Exact name of the metric for table headers, such as 'SSIM 3-D'; subclasses may set a plain attribute."""

    @property
    def reads_floats(self) -> bool:
        """Whether it scores the output before rounding."""
        return 'output' in self.reads

    @property
    def missing(self) -> str:
        """Reason why the metric cannot be computed on this machine (optional package, weights); '' if it can.

        Evaluations continue without such a metric; tables list it without scores.
        """
        return ''

    @abstractmethod
    def score(self, record: Record) -> Score:
        """Score a record that has all fields in ``reads``."""

    def __call__(self, record: Record) -> Score:
        """Score one image.

        Args:
            record: with all fields in ``reads``.

        Raises:
            MetricError: a field is missing, the shapes differ, or an image contains NaN.
        """
        record.require(self.name, self.reads)
        return self.score(record)


class DecibelMetric(Metric):
    """Base class of metrics in dB."""

    unit: ClassVar[str] = 'dB'
    decimals: ClassVar[int] = 2
    possible_marks: ClassVar[tuple[str, ...]] = (INFINITE,)


def pair_of(record: Record, rounded: bool, data_range: DataRange = None, luma: bool = False) -> tuple[Array, Array]:
    """Return output and ground truth for PSNR and SSIM.

    Args:
        record: one image.
        rounded: use the rounded output; otherwise the network's output before rounding, clamped to [0, 1].
        data_range: 'guess' does not clamp, as in the original code, where an output with a value above 1 then gets
            range 255.
        luma: for scoring the luma, which needs rounded images: swap red and blue.

    Returns:
        integers of one dtype, or floats with 1 as white: (H, W, C), RGB; BGR for the luma.
    """
    if rounded:
        output, gt = record.array('output_uint8'), record.array('gt')
        return (swap_red_and_blue(output), swap_red_and_blue(gt)) if luma else (output, gt)
    output, gt = record.array('output'), unit_float(record.array('gt'), "the record's gt")
    return output if data_range == 'guess' else np.clip(output, 0, 1), gt


def require_rounded_luma(luma: bool, rounded: bool) -> None:
    """Check that luma is only used with rounded images, since it is defined on 8 bits.

    Raises:
        MetricError: luma of images before rounding.
    """
    if luma and not rounded:
        raise MetricError("'test_y_channel' scores the luma, which is defined on 8 bits; it needs 'use_image: true'")


def decibels(value: float) -> Score:
    """Return a score in dB; mark identical images (infinity), since they make the mean infinite."""
    return Score(value, (INFINITE,) if math.isinf(value) else ())
