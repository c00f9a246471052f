"""Compare two runs on the same images, with confidence intervals over scenes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from basicsr.reporting.report import MCR, Definition, ImageRow, Report, listed
from basicsr.reporting.scenes import ScenesBy, scenes_of
from basicsr.reporting.statistics import Estimate, Method, scene_estimate
from basicsr.utils.errors import ReportError


@dataclass(frozen=True)
class Difference:
    """The difference (second - first) of one score.

    Args:
        label: key in the rows' scores.
        changes: difference of each image of the first run; zero for images that are perfect in both runs, NaN for
            those left out.
        first: mean of the first run over images with finite scores in both runs; infinite if there are none.
        second: mean of the second run over the same images.
        estimate: of the mean difference; each scene counts once, with the mean of its images.
        wins: number of images on which the second run is better.
        left_out: images with a missing score, or with an infinite score in one run only.
    """

    label: str
    changes: tuple[float, ...]
    first: float
    second: float
    estimate: Estimate
    wins: int
    left_out: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of images that are compared."""
        return len(self.changes) - len(self.left_out)

    @property
    def ties(self) -> int:
        """Number of images with equal scores."""
        return self.changes.count(0.0)

    @property
    def losses(self) -> int:
        """Number of images on which the first run is better."""
        return self.count - self.wins - self.ties

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.estimate.low > 0 or self.estimate.high < 0


@dataclass(frozen=True)
class Comparison:
    """The comparison of two runs on one data set.

    Args:
        first: report of the first run.
        second: report of the second run; differences are positive if its scores are larger.
        differences: one per label of both runs, the mode collapse rate last.
        scenes: positions of the images of each scene in the rows of the first run.
        too_few_scenes: number of scenes that the images show, if it is too small for intervals over scenes, and images
            are treated as independent though they are not; such differences have no p-value. Else 0.
        not_compared: labels without an image whose scores can be compared.
        confidence: of the intervals, 0 to 1.
        method: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    first: Report
    second: Report
    differences: tuple[Difference, ...]
    scenes: Mapping[str, Sequence[int]]
    confidence: float
    method: Method
    resamples: int
    seed: int
    too_few_scenes: int = 0
    not_compared: tuple[str, ...] = ()

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
    scenes: ScenesBy = 'auto',
    confidence: float = 0.95,
    method: Method = 'bca',
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs image by image.

    Images of one scene resemble each other, so each scene counts once in means and intervals of differences.

    Args:
        first: report of the first run.
        second: report of the second run on the same images, in any order.
        scenes: how scenes are found, see :func:`~basicsr.reporting.scenes.scenes_of`.
        confidence: of the intervals, between 0 and 1.
        method: 'bca' (bias-corrected and accelerated) or 'percentile'; Efron and Tibshirani 1993, chapters 13, 14.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ReportError: the images (or their blurred inputs) differ, a label has different definitions, or no score of an
            image can be compared.
    """
    pairs = _pairs(first, second)
    definitions = [item for item in first.definitions if item.label in {other.label for other in second.definitions}]
    for definition in definitions:
        _check_same_meaning(definition, next(item for item in second.definitions if item.label == definition.label))
        _check_same_inputs(pairs, definition.label)
    definitions.sort(key=lambda item: item.label == MCR)
    how: dict[str, Any] = {'confidence': confidence, 'method': method, 'resamples': resamples, 'seed': seed}
    names = [row.name for row in first.rows]
    members, named = scenes_of(names, scenes), scenes_of(names, 'name')
    too_few = len(named) if scenes == 'auto' and len(named) < len(members) else 0
    found = {
        definition.label: _difference(definition, pairs, members, **how)
        for definition in definitions
        if any(definition.label in a.scores and definition.label in b.scores for a, b in pairs)
    }
    differences = [item for item in found.values() if item is not None]
    if not differences:
        runs = f'{first.dataset}: the runs {first.facts.run} and {second.facts.run}'
        if found:
            raise ReportError(f'{runs} have no image with scores that can be compared; those of one run are not finite')
        raise ReportError(f'{runs} have no score in common; do they have ground truth?')
    if too_few:
        differences = [replace(item, estimate=replace(item.estimate, p_value=math.nan)) for item in differences]
    without = tuple(label for label, item in found.items() if item is None)
    return Comparison(first, second, tuple(differences), members, **how, too_few_scenes=too_few, not_compared=without)


def _difference(
    definition: Definition,
    pairs: Sequence[tuple[ImageRow, ImageRow]],
    scenes: Mapping[str, Sequence[int]],
    **bootstrap: Any,
) -> Difference | None:
    """Compare one score; None if no image can be compared."""
    label = definition.label
    x, y = np.array([[row.scores.get(label, math.nan) for row in pair] for pair in pairs], np.float64).T
    with np.errstate(invalid='ignore'):
        change = np.where(x == y, 0.0, y - x)  # also of images that are perfect in both runs
    known = np.isfinite(change)
    if not known.any():
        return None
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        finite = known
    change[~known] = math.nan
    parts = [change[places][known[places]] for places in map(list, scenes.values())]
    better = change > 0 if definition.higher_is_better else change < 0
    return Difference(
        label=label,
        changes=tuple(change.tolist()),
        first=float(x[finite].mean()),
        second=float(y[finite].mean()),
        estimate=scene_estimate([[float(part.mean()) for part in parts if part.size]], **bootstrap),
        wins=int(better.sum()),
        left_out=tuple(pair[0].name for pair, counts in zip(pairs, known, strict=True) if not counts),
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
