"""Compare any number of runs with a reference: intervals over scenes, and p-values corrected for their number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.reporting.comparison import Comparison, Difference, compare
from basicsr.reporting.report import MCR, Definition, Report, listed, ranking_label
from basicsr.reporting.scenes import ScenesBy
from basicsr.reporting.statistics import Estimate, Method, bootstrap_interval, holm
from basicsr.utils.errors import ReportError


@dataclass(frozen=True)
class Change:
    """How a score of a run differs from that of the reference.

    Args:
        definition: of the score.
        run: name of the run.
        difference: of the run from the reference.
        adjusted: p-value after the correction of Holm for all changes that were compared together; NaN without a test.
    """

    definition: Definition
    run: str
    difference: Difference
    adjusted: float = math.nan

    @property
    def estimate(self) -> Estimate:
        """Return the mean difference (run - reference), each scene counted once."""
        return self.difference.estimate


@dataclass(frozen=True)
class SceneScores:
    """The main score of one scene.

    Args:
        name: of the scene.
        images: number of images.
        blurred: mean of the blurred input; None if unknown.
        reference: mean of the reference; NaN without a finite score.
        changes: mean, lower and upper end of the difference of each other run, over the images of the scene.
    """

    name: str
    images: int
    blurred: float | None
    reference: float
    changes: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class RunsComparison:
    """Several runs on one data set.

    Args:
        names: of the runs; the first is the reference.
        reports: of the runs.
        pairs: the reference with each other run, image by image.
        changes: of every score of every other run.
        scenes: scores of each scene; empty if every image is a scene of its own.
    """

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    pairs: tuple[Comparison, ...]
    changes: tuple[Change, ...]
    scenes: tuple[SceneScores, ...] = ()

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.reports[0].dataset

    @property
    def main(self) -> Definition:
        """The score that ranks images."""
        label = ranking_label([change.definition for change in self.changes]) or self.changes[0].definition.label
        return next(change.definition for change in self.changes if change.definition.label == label)


def unique_names(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return the names of runs, numbered where several are equal."""
    names = [report.facts.run for report in reports]
    count = Counter(names)
    return tuple(f'{name} ({place})' if count[name] > 1 else name for place, name in enumerate(names, 1))


def compare_runs(
    sets: Sequence[Sequence[Report]],
    labels: Sequence[str] | None = None,
    scenes: ScenesBy = 'auto',
    confidence: float = 0.95,
    method: Method = 'bca',
    resamples: int = 10_000,
    seed: int = 0,
) -> list[RunsComparison]:
    """Compare runs on one or more data sets.

    Images of one scene resemble each other, so each scene counts once, with the mean of its images. The p-value is that
    of a sign-flip test over scenes; all p-values of the call form one family for the correction of Holm.

    Args:
        sets: reports of the runs on each data set, in the same order; the first run is the reference.
        labels: of the scores to compare; None compares all that two runs have in common. Fewer scores need a smaller
            correction.
        scenes: how scenes are found, see :func:`~basicsr.reporting.scenes.scenes_of`.
        confidence: of each interval (not corrected), between 0 and 1.
        method: of the intervals, 'bca' or 'percentile'.
        resamples: of the bootstrap; the test has ten times as many.
        seed: of the bootstrap and the test.

    Raises:
        ReportError: fewer than two runs, runs that cannot be compared (see :func:`compare`), or an unknown label.
    """
    how: dict[str, Any] = {'confidence': confidence, 'method': method, 'resamples': resamples, 'seed': seed}
    found = [_compared(reports, labels, scenes, how) for reports in sets]
    p_values = {
        f'{number} {place}': change.estimate.p_value
        for number, one in enumerate(found)
        for place, change in enumerate(one.changes)
        if not math.isnan(change.estimate.p_value)
    }
    adjusted = holm(p_values)
    return [
        replace(
            one,
            changes=tuple(
                replace(change, adjusted=adjusted.get(f'{number} {place}', math.nan))
                for place, change in enumerate(one.changes)
            ),
        )
        for number, one in enumerate(found)
    ]


def _compared(
    reports: Sequence[Report], labels: Sequence[str] | None, scenes: ScenesBy, how: Mapping[str, Any]
) -> RunsComparison:
    if len(reports) < 2:
        raise ReportError(f'a comparison needs at least two runs, got {len(reports)}')
    names, first = unique_names(reports), reports[0]
    pairs = tuple(compare(first, other, scenes, **how) for other in reports[1:])
    known = list(dict.fromkeys(item.label for pair in pairs for item in pair.differences))
    unknown = [label for label in labels or () if label not in known]
    if unknown:
        raise ReportError(f'{first.dataset}: {listed(unknown)}: not in two runs; use {listed(known)}')
    definitions = [item for item in first.definitions if item.label in (labels or known) and item.label in known]
    definitions.sort(key=lambda item: item.label == MCR)
    changes = tuple(
        Change(definition, name, item)
        for definition in definitions
        for name, pair in zip(names[1:], pairs, strict=True)
        for item in pair.differences
        if item.label == definition.label
    )
    comparison = RunsComparison(names, tuple(reports), pairs, changes)
    members = pairs[0].scenes
    if len(members) == len(first.rows):
        return comparison
    table = tuple(_scene(name, places, comparison, how) for name, places in members.items())
    return replace(comparison, scenes=table)


def _values(report: Report, label: str, order: Sequence[str], blurred: bool = False) -> NDArray[np.float64]:
    """Return the scores of images in a certain order; NaN where there is none."""
    scores = {row.name: row.input_scores if blurred else row.scores for row in report.rows}
    return np.array([scores[name].get(label, math.nan) for name in order], np.float64)


def _scene(name: str, places: Sequence[int], comparison: RunsComparison, how: Mapping[str, Any]) -> SceneScores:
    reference, label = comparison.reports[0], comparison.main.label
    order = [reference.rows[place].name for place in places]
    scores, blurred = (_values(reference, label, order, which) for which in (False, True))
    changes = []
    for pair in comparison.pairs:
        found = [item.changes[place] for item in pair.differences if item.label == label for place in places]
        known = [change for change in found if math.isfinite(change)]
        changes.append((float(np.mean(known)), *bootstrap_interval(known, **how)) if known else (math.nan,) * 3)
    blur = blurred[np.isfinite(blurred)]
    finite = scores[np.isfinite(scores)]
    return SceneScores(
        name,
        len(places),
        float(blur.mean()) if blur.size else None,
        float(finite.mean()) if finite.size else math.nan,
        tuple(changes),
    )
