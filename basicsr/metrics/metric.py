"""What every metric offers: a record in, a score out, and the facts that a table needs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from basicsr.metrics.arrays import Array, DataRange, unit_float
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError

INFINITE = 'infinite'


@dataclass(frozen=True)
class Score:
    """One metric of one image.

    Args:
        value: the number, in the metric's unit.
        marks: what a reader of the table should know about this image ('not_aligned').
    """

    value: float
    marks: tuple[str, ...] = ()


class Metric(ABC):
    """Base of the metrics that an option file names.

    A subclass's constructor arguments are the keys of its block; its class data describe it:
    ``name`` (registry key), ``unit``, ``decimals`` (as published tables print it), ``higher_is_better``,
    ``reads`` (fields of the record) and ``scores_input`` (whether scoring the blurred input as output makes sense, as
    the baseline in tables).
    """

    name: ClassVar[str]
    unit: ClassVar[str] = ''
    decimals: ClassVar[int] = 4
    higher_is_better: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt')
    scores_input: ClassVar[bool] = True

    @property
    @abstractmethod
    def variant(self) -> str:
        """What exactly is computed, for the head of a table: 'SSIM 3-D'."""

    @property
    def missing(self) -> str:
        """Why the metric cannot be computed on this machine (an optional package, weights); '' if it can.

        Such a metric stays in the tables and scores nothing; evaluations go on without it.
        """
        return ''

    @abstractmethod
    def score(self, record: Record) -> Score:
        """Score a record that has all fields the metric reads.

        Args:
            record: one image.
        """

    def __call__(self, record: Record) -> Score:
        """Score one image.

        Args:
            record: one image; the fields in ``reads`` must be there.

        Raises:
            MetricError: a field is missing, the images do not fit each other or hold NaN.
        """
        record.require(self.name, self.reads)
        return self.score(record)


def pair_of(record: Record, rounded: bool, data_range: DataRange) -> tuple[Array, Array]:
    """What PSNR and SSIM compare: output and ground truth.

    Args:
        record: one image.
        rounded: the output as a saved file holds it; otherwise the network's own values, clamped to [0, 1].
        data_range: 'guess' is the original's rule, and its way: values before rounding are not clamped, then, so that
            an output with a value above 1 is taken for one of range 255.

    Returns:
        integers of one kind, or floats with 1 as white: (H, W, C) in RGB order.
    """
    if rounded:
        return record.array('output_uint8'), record.array('gt')
    output, gt = record.array('output'), unit_float(record.array('gt'), "the record's gt")
    return output if data_range == 'guess' else np.clip(output, 0, 1), gt


def require_rounded_luma(luma: bool, rounded: bool) -> None:
    """Refuse the luma of values that are not rounded: it is defined on 8 bits.

    Raises:
        MetricError: both are asked for.
    """
    if luma and not rounded:
        raise MetricError("'test_y_channel' scores the luma, which is defined on 8 bits; it needs 'use_image: true'")


def decibels(value: float) -> Score:
    """A PSNR as a score: identical images (infinity) are marked, since they make the mean infinite.

    Args:
        value: dB.
    """
    return Score(value, (INFINITE,) if math.isinf(value) else ())
