"""Curves of a training: losses and validation scores over the iterations, from the log that the training wrote."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basicsr.reporting.files import file_stem
from basicsr.reporting.line_chart import COLOURS, Line, line_chart
from basicsr.reporting.report import Report
from basicsr.utils.errors import ReportError
from basicsr.utils.files import write_whole

logger = logging.getLogger(__name__)

Points = dict[int, float]
"""Values by iteration."""

_NOT_LOSSES = {'iter', 'epoch', 'lr', 'grad_norm', 'seconds', 'data_seconds', 'dataset'}
_MOST = 200
"""Points of a line in a chart; losses of neighbouring iterations are averaged."""


@dataclass(frozen=True)
class TrainingCurves:
    """What a training logged.

    Args:
        losses: by name.
        scores: by 'data set: label'.
    """

    losses: Mapping[str, Points] = field(default_factory=dict)
    scores: Mapping[str, Points] = field(default_factory=dict)


def training_of(report: Report) -> TrainingCurves:
    """Return the curves of the training that wrote the evaluated network; no curves without its log.

    The log is ``experiments/<name>/log/<name>.jsonl``, for a network in ``experiments/<name>/models``.
    """
    folder = Path(report.facts.checkpoint).parent
    if not report.facts.checkpoint or folder.name != 'models':
        return TrainingCurves()
    log = folder.parent / 'log' / f'{folder.parent.name}.jsonl'
    if not log.is_file():
        return TrainingCurves()
    try:
        return read_training(log)
    except ReportError as error:  # the report itself needs no curves
        logger.warning('no training curves: %s', error)
        return TrainingCurves()


def read_training(log: Path) -> TrainingCurves:
    """Read the log of a training.

    Args:
        log: JSON lines, as :class:`~basicsr.training.loggers.RunLog` writes them; an incomplete last line is ignored.

    Raises:
        ReportError: the file cannot be read, or a line is damaged.
    """
    losses: dict[str, Points] = {}
    scores: dict[str, Points] = {}
    try:
        lines = log.read_text(encoding='utf-8').splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            if number == len(lines) and not line.endswith('\n'):
                break
            record = json.loads(line)
            iteration, dataset = int(record['iter']), record.get('dataset')
            for key, value in record.items():
                if key not in _NOT_LOSSES:
                    curves, name = (losses, key) if dataset is None else (scores, f'{dataset}: {key}')
                    curves.setdefault(name, {})[iteration] = float(value)  # infinity and NaN are texts
    except OSError as error:
        raise ReportError(f'{log}: {error.strerror or error}') from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReportError(f'{log}, line {number}: damaged ({error!r}); remove this line') from error
    return TrainingCurves(losses, scores)


def training_charts(runs: Mapping[str, TrainingCurves]) -> dict[str, str]:
    """Draw every loss and every validation score over the iterations, one line for each run.

    Args:
        runs: curves by name; the first seven with values are drawn.

    Returns:
        SVG documents by file name without ending.
    """
    charts = {}
    for kind, title in (('losses', 'training'), ('scores', 'validation')):
        for name in dict.fromkeys(name for curves in runs.values() for name in getattr(curves, kind)):
            lines = [
                Line(run, *_thinned(getattr(curves, kind)[name], mean=kind == 'losses'))
                for run, curves in runs.items()
                if any(map(math.isfinite, getattr(curves, kind).get(name, {}).values()))
            ][: len(COLOURS)]
            if lines:
                stem = file_stem(f'{title}_{name.replace(": ", "_")}')
                charts[stem] = line_chart(lines, 'iteration', name, f'{title}: {name}')
    return charts


def write_training_charts(folder: Path, report: Report) -> Sequence[Path]:
    """Write the curves of a training beside its report as ``training_<loss>.svg`` and
    ``validation_<data set>_<score>.svg``, atomically; return the paths.

    Raises:
        ReportError: the log is damaged.
        OSError: the folder is not writable, or the disk is full.
    """
    charts = training_charts({report.facts.run: training_of(report)})
    for stem, chart in charts.items():
        write_whole(folder / f'{stem}.svg', chart.encode())
    return [folder / f'{stem}.svg' for stem in charts]


def _thinned(points: Points, mean: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return iterations and values, with means over equal numbers of neighbours where there are many."""
    x, y = (np.array(values, np.float64) for values in (sorted(points), [points[key] for key in sorted(points)]))
    if not mean or len(x) <= _MOST:
        return x, y
    parts = np.array_split(np.arange(len(x)), _MOST)
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])
