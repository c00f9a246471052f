"""Figures of reports, as SVG: the cumulative histogram of an error ratio."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from basicsr.reporting.line_chart import Line, line_chart
from basicsr.reporting.report import Definition, Report

_FARTHEST = 6.0
"""Largest error ratio in the figure; results beyond it are failures whose degree does not matter."""


def figures_of(reports: Mapping[str, Report]) -> dict[str, str]:
    """Return the figures of one data set by label; of reports of several runs by the names in the legend."""
    first = next(iter(reports.values()))
    shown = [item for item in first.definitions if item.cumulative and any(item.label in r.scores for r in first.rows)]
    return {item.label: cumulative_figure(item, reports) for item in shown}


def cumulative_figure(definition: Definition, reports: Mapping[str, Report]) -> str:
    """Draw the percentage of images with at most a certain error ratio (Levin et al., CVPR 2009, figure 6).

    Args:
        definition: of the score.
        reports: of the same data set, by the names in the legend.

    Returns:
        an SVG document.
    """
    lines = []
    for name, report in reports.items():
        values = [row.scores[definition.label] for row in report.rows if definition.label in row.scores]
        if values:
            x, y = cumulative_points(values, _FARTHEST)
            lines.append(Line(name, x, y))
    dataset = next(iter(reports.values())).dataset
    return line_chart(lines, definition.variant, 'images with at most this, %', f'{dataset}: {definition.variant}')


def cumulative_points(values: Sequence[float], high: float) -> tuple[list[float], list[float]]:
    """Return the corners of a cumulative histogram from 0 to ``high``.

    Args:
        values: at least one; infinite ones count, NaN does not.
        high: end of the horizontal axis.

    Returns:
        values of the horizontal axis, and percentages of the values that are at most as large.
    """
    known = sorted(value for value in values if not math.isnan(value))
    x, y = [0.0], [0.0]
    for number, value in enumerate(known, 1):
        if value > high:
            break
        x += [value, value]
        y += [y[-1], 100 * number / len(known)]
    return [*x, high], [*y, y[-1]]
