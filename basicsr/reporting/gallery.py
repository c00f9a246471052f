"""The gallery: one static HTML page for one run or several runs, which needs no server."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from basicsr.reporting.figures import figures_of
from basicsr.reporting.files import file_stem
from basicsr.reporting.images import error_colours
from basicsr.reporting.report import MCR, ImageRow, Report, ranking_label
from basicsr.reporting.several_runs import RunsComparison
from basicsr.reporting.several_tables import family_size, gain_chart, runs_notes, tables_of
from basicsr.reporting.tables import (
    Published,
    Table,
    facts_lines,
    notes_of,
    summary_table,
)
from basicsr.reporting.training_curves import training_charts, training_of
from basicsr.utils.errors import ReportError
from basicsr.utils.files import write_whole

GALLERY = 'gallery.html'
PAGE = 'page'
ENDS = 10
"""Number of the best and of the worst images above the table."""
LONG_NOTE = 400

MakeLink: TypeAlias = Callable[[str], str]


def write_gallery(folder: Path, reports: Sequence[Report], published: Published | None = None) -> Path:
    """Write ``gallery.html`` to the result folder, atomically; it shows the image files of the folder.

    Args:
        folder: the result folder.
        reports: of one run, one per data set.
        published: scores of a paper by data set and label, for the summary.

    Returns:
        path of the page.

    Raises:
        ReportError: no reports.
        OSError: the folder is not writable, or the disk is full.
    """
    if not reports:
        raise ReportError(f'{folder}: a gallery needs at least one report')
    sets, sections = [], []
    for report in reports:
        name, link = report.dataset, _link('.')
        sets.append(_data_set(report, [_row(row, _run_of_row(row, link)) for row in report.rows], [report.facts.run]))
        tables = [summary_table(report, (published or {}).get(name))]
        sections.append(_summary(name, tables, notes_of(report), figures_of({report.facts.run: report})))
    training = training_charts({reports[0].facts.run: training_of(reports[0])})
    if training:
        sections.append(_summary('Training', (), (), training))
    target = folder / GALLERY
    _write_page(target, reports[0].facts.run, sets, sections, [reports[0]], reports)
    return target


def write_runs_page(target: Path, folders: Sequence[Path], comparisons: Sequence[RunsComparison]) -> Path:
    """Write a gallery of several runs, with the charts of gains and of training, atomically.

    Args:
        target: the page; its folder is created if needed. It links to the images in the result folders by relative
            paths, so move all folders together.
        folders: result folders of the runs; the first one is the reference.
        comparisons: of :func:`~basicsr.reporting.several_runs.compare_runs`, one per data set.

    Returns:
        ``target``.

    Raises:
        ReportError: no comparisons.
        OSError: the folder is not writable, or the disk is full.
    """
    if not comparisons:
        raise ReportError(f'{target}: a comparison needs at least one data set in all runs')
    tests, sections = family_size(comparisons), []
    for comparison in comparisons:
        chart = gain_chart(comparison)
        figures = figures_of(dict(zip(comparison.names, comparison.reports, strict=True)))
        figures |= {} if chart is None else {'gain': chart}
        notes = runs_notes(comparison, tests)
        sections.append(_Section(comparison.reports, comparison.names, tables_of(comparison), notes, figures))
    first = comparisons[0]
    training = training_charts(dict(zip(first.names, map(training_of, first.reports), strict=True)))
    title = f'{", ".join(first.names[1:])} against {first.names[0]}'
    return _write_sections(target, title, folders, sections, training)


@dataclass(frozen=True)
class _Section:
    """A data set of a comparison: its reports, the first of which is the reference, and what the summary shows."""

    reports: Sequence[Report]
    names: Sequence[str]
    tables: Sequence[Table]
    notes: Sequence[str]
    figures: Mapping[str, str] = field(default_factory=dict)


def _write_sections(
    target: Path,
    title: str,
    folders: Sequence[Path],
    sections: Sequence[_Section],
    training: Mapping[str, str] | None = None,
) -> Path:
    links = [_link(_relative(folder, target.parent)) for folder in folders]
    sets, summary = [], []
    for section in sections:
        by_name = [{row.name: row for row in report.rows} for report in section.reports]
        rows = [
            _row(row, *(_run_of_row(rows[row.name], link) for rows, link in zip(by_name, links, strict=True)))
            for row in section.reports[0].rows
        ]
        dataset = section.reports[0].dataset
        sets.append(_data_set(section.reports[0], rows, list(section.names)))
        summary.append(_summary(dataset, section.tables, section.notes, section.figures))
    if training:
        summary.append(_summary('Training', (), (), training))
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_page(target, title, sets, summary, sections[0].reports, [item.reports[0] for item in sections])
    return target


def _summary(title: str, tables: Sequence[Table], notes: Sequence[str], figures: Mapping[str, str]) -> dict[str, Any]:
    return {'dataset': title, 'tables': tables, 'figures': figures, 'notes': notes}


def comparison_file(first_folder: Path, second_folder: Path) -> Path:
    """Return the default path for a comparison, in the folder of the second (last) run."""
    return second_folder / f'compared_with_{file_stem(first_folder.resolve().name)}.html'


def _data_set(report: Report, rows: list[dict[str, Any]], runs: list[str]) -> dict[str, Any]:
    labels = [
        {
            'label': item.label,
            'title': item.variant,
            'unit': item.unit,
            'decimals': item.decimals,
            'higher': item.higher_is_better,
        }
        for item in report.definitions
        if item.label != MCR and any(item.label in row.scores for row in report.rows)
    ]
    return {
        'name': report.dataset,
        'runs': runs,
        'labels': labels,
        'main': ranking_label(report.definitions),
        'ends': ENDS,
        'errorScale': report.error_scale,
        'rows': rows,
    }


def _row(row: ImageRow, *runs: dict[str, Any]) -> dict[str, Any]:
    return {
        'index': row.index,
        'name': row.name,
        'width': row.width,
        'height': row.height,
        'input': {label: _plain(value) for label, value in row.input_scores.items()},
        'runs': runs,
    }


def _run_of_row(row: ImageRow, link: MakeLink) -> dict[str, Any]:
    return {
        'scores': {label: _plain(value) for label, value in row.scores.items()},
        'collapsed': row.collapsed,
        'seconds': row.seconds,
        'tiled': row.tiled,
        'marks': row.marks,
        'images': {kind: link(path) for kind, path in row.images.items()},
    }


def _plain(value: float) -> float | str:
    """Return a number for strict JSON; infinity and NaN as text, which the page parses."""
    return round(value, 6) if math.isfinite(value) else str(value)


def _relative(folder: Path, start: Path) -> str:
    """Return the path of a folder relative to the page; absolute if on a different drive."""
    try:
        return Path(os.path.relpath(folder.resolve(), start.resolve())).as_posix()
    except ValueError:
        return folder.resolve().as_uri()


def _link(base: str) -> MakeLink:
    """Return a function that converts a path relative to ``base`` to a URL."""
    prefix = base if base.startswith('file:') else quote(base)
    return lambda path: quote(path) if prefix == '.' else f'{prefix}/{quote(path)}'


def _write_page(
    target: Path,
    title: str,
    sets: list[dict[str, Any]],
    sections: Sequence[dict[str, Any]],
    runs: Sequence[Report],
    reports: Sequence[Report],
) -> None:
    """Write the page.

    The template escapes all names of files, data sets and runs: as HTML in the summary, as JSON in the data, from which
    the script creates text nodes only. The content security policy allows no other script.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    source = resources.files('basicsr.reporting') / PAGE
    script = ''.join((source / name).read_text(encoding='utf-8') for name in ('viewer.js', 'gallery.js'))
    environment = Environment(
        loader=PackageLoader('basicsr.reporting', PAGE), autoescape=True, undefined=StrictUndefined
    )
    environment.policies['json.dumps_kwargs'] = {'allow_nan': False, 'separators': (',', ':')}
    page = environment.get_template('gallery.html').render(
        title=title,
        style=Markup((source / 'gallery.css').read_text(encoding='utf-8')),  # noqa: S704 - our own file
        error_colours=['#{:02x}{:02x}{:02x}'.format(*error_colours()[level]) for level in range(0, 256, 17)],
        script=Markup(script),  # noqa: S704 - our own files
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data={'title': title, 'sets': sets},
        sections=[
            {**section, 'figures': [Markup(figure) for figure in section['figures'].values()]}  # noqa: S704 - ours
            for section in sections
        ],
        long_note=LONG_NOTE,
        definitions={item.label: item for report in reports for item in report.definitions}.values(),
        runs=[(report.facts.run, facts_lines(report)) for report in runs],
    )
    write_whole(target, page.encode())
