"""Compare two runs on the same images, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.reporting.report import MCR, Definition, ImageRow, Report, listed
from basicsr.reporting.statistics import Method, bootstrap_interval
from basicsr.utils.errors import ReportError


@dataclass(frozen=True)
class Difference:
    """The mean difference (second - first) of one score.

    Args:
        label: key in the rows' scores.
        count: number of images.
        first: mean of the first run over images with finite scores in both runs.
        second: mean of the second run over the same images.
        mean: mean difference; it is zero for images that are perfect in both runs.
        low: lower end of the confidence interval.
        high: upper end.
        wins: number of images on which the second run is better.
        ties: number of images with equal scores.
        left_out: images with a missing score, or with an infinite score in one run only.
    """

    label: str
    count: int
    first: float
    second: float
    mean: float
    low: float
    high: float
    wins: int
    ties: int
    left_out: tuple[str, ...] = ()

    @property
    def losses(self) -> int:
        """Number of images on which the first run is better."""
        return self.count - self.wins - self.ties

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs on one data set.

    Args:
        first: report of the first run.
        second: report of the second run; differences are positive if its scores are larger.
        differences: one per label of both runs, the mode collapse rate last.
        confidence: of the intervals, 0 to 1.
        method: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    first: Report
    second: Report
    differences: tuple[Difference, ...]
    confidence: float
    method: Method
    resamples: int
    seed: int

    def difference(self, label: str) -> Difference:
        """Return the difference of a label.

        Raises:
            ReportError: the label is not in both runs.
        """
        for item in self.differences:
            if item.label == label:
                return item
        raise ReportError(f"'{label}' is not in both runs; use {listed(item.label for item in self.differences)}")


def compare(
    first: Report,
    second: Report,
    confidence: float = 0.95,
    method: Method = 'bca',
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs image by image.

    Args:
        first: report of the first run.
        second: report of the second run on the same images, in any order.
        confidence: of the intervals, between 0 and 1.
        method: 'bca' (bias-corrected and accelerated) or 'percentile'; Efron and Tibshirani 1993, chapters 13, 14.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ReportError: the images (or their blurred inputs) differ, a label has different definitions, or the runs have no
            score in common.
    """
    pairs = _pairs(first, second)
    definitions = [item for item in first.definitions if item.label in {other.label for other in second.definitions}]
    for definition in definitions:
        _check_same_meaning(definition, next(item for item in second.definitions if item.label == definition.label))
        _check_same_inputs(pairs, definition.label)
    definitions.sort(key=lambda item: item.label == MCR)
    how: dict[str, Any] = {'confidence': confidence, 'method': method, 'resamples': resamples, 'seed': seed}
    differences = [
        _difference(definition, pairs, **how)
        for definition in definitions
        if any(definition.label in a.scores and definition.label in b.scores for a, b in pairs)
    ]
    if not differences:
        raise ReportError(f'{first.dataset}: the two runs have no score in common; do they have ground truth?')
    return Comparison(first, second, tuple(differences), **how)


def _difference(definition: Definition, pairs: Sequence[tuple[ImageRow, ImageRow]], **bootstrap: Any) -> Difference:
    both = [(a.name, a.scores.get(definition.label), b.scores.get(definition.label)) for a, b in pairs]
    finite = [(x, y) for _, x, y in both if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)]
    perfect = sum(x is not None and x == y and math.isinf(x) for _, x, y in both)  # no difference
    left_out = [name for name, x, y in both if x is None or y is None or not (x == y or math.isfinite(y - x))]
    if not finite:
        raise ReportError(f"'{definition.label}': no image has a finite score in both runs")
    x, y = np.array(finite).T
    change = np.concatenate([y - x, np.zeros(perfect)])
    low, high = bootstrap_interval(change, **bootstrap)
    better = change > 0 if definition.higher_is_better else change < 0
    return Difference(
        label=definition.label,
        count=len(change),
        first=float(x.mean()),
        second=float(y.mean()),
        mean=float(change.mean()),
        low=low,
        high=high,
        wins=int(better.sum()),
        ties=int((change == 0).sum()),
        left_out=tuple(left_out),
    )


def _pairs(first: Report, second: Report) -> list[tuple[ImageRow, ImageRow]]:
    others = {row.name: row for row in second.rows}
    names = {row.name for row in first.rows}
    sides = (first, names - others.keys()), (second, others.keys() - names)
    problems = [f"only in run '{run.facts.run}': {listed(sorted(missing))}" for run, missing in sides if missing]
    if problems:
        raise ReportError(f'{first.dataset}: the runs have different images: {"; ".join(problems)}')
    if not names:
        raise ReportError(f'{first.dataset}: the runs have no images')
    return [(row, others[row.name]) for row in first.rows]


def _check_same_meaning(a: Definition, b: Definition) -> None:
    if (a.variant, dict(a.settings)) != (b.variant, dict(b.settings)):
        raise ReportError(
            f"'{a.label}' is {a.variant} {dict(a.settings)} in the first run and {b.variant} {dict(b.settings)} "
            'in the second; such scores cannot be compared, repeat one of the evaluations'
        )


def _check_same_inputs(pairs: Sequence[tuple[ImageRow, ImageRow]], label: str) -> None:
    differing = [
        a.name
        for a, b in pairs
        if label in a.input_scores
        and label in b.input_scores
        and not math.isclose(a.input_scores[label], b.input_scores[label], rel_tol=1e-6, abs_tol=1e-6)
    ]
    if differing:
        raise ReportError(
            f"'{label}' of the blurred input differs between the runs for {listed(differing)}; "
            'the runs used different images with the same names'
        )
