"""Tables of averages, as text and Markdown, and ``summary.md``."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basicsr.metrics import Average
from basicsr.reporting.files import figure_file
from basicsr.reporting.report import Definition, Report
from basicsr.utils.files import write_whole

SUMMARY = 'summary.md'

Published = Mapping[str, Mapping[str, float]]
"""Scores of a paper by data set and label."""


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Args:
        head: column titles.
        rows: as many cells per row.
        numbers: whether all columns except the first contain numbers, which are right-aligned.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True

    def text(self) -> str:
        """Return plain text with aligned columns, the first to the left, the others to the right."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        return '\n'.join(
            '  '.join(
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    def markdown(self) -> str:
        """Return Markdown with escaped cells."""
        rule = '|'.join(['---', *['---:' if self.numbers else '---'] * (len(self.head) - 1)])
        rows = ['| ' + ' | '.join(markdown_text(cell) for cell in line) + ' |' for line in (self.head, *self.rows)]
        return '\n'.join([rows[0], f'|{rule}|', *rows[1:]])

    def latex(self) -> str:
        """Return a ``tabular`` of the package booktabs with escaped cells."""
        columns = 'l' + ('r' if self.numbers else 'l') * (len(self.head) - 1)
        head, *rows = (' & '.join(map(_escaped_for_latex, line)) + r' \\' for line in (self.head, *self.rows))
        lines = [rf'\begin{{tabular}}{{{columns}}}', r'\toprule', head, r'\midrule', *rows, r'\bottomrule']
        return '\n'.join([*lines, r'\end{tabular}'])


def summary_table(report: Report, published: Mapping[str, float] | None = None) -> Table:
    """Return the averages of a report, of all images and of each group: blurred input, baselines, network.

    Args:
        report: of one data set.
        published: scores of a paper by label, for two more columns: the score and the difference.
    """
    head, rows = ['', 'images'], []
    for definition in shown_definitions(report):
        beside = ['published', 'difference'] if definition.label in (published or {}) else []
        head += [title_of(definition), *beside]
    for group in (None, *report.groups):
        count, ending = str(len(report.members(group))), '' if group is None else f', {group}'
        blurred, ours = [f'blurred input{ending}', count], [f'{report.facts.run}{ending}', count]
        others = {name: [f'{name}{ending}', count] for name in report.baselines}
        for definition in shown_definitions(report):
            label = definition.label
            blurred.append(cell_of(report.input_average(label, group), definition))
            ours.append(cell_of(report.average(label, group), definition))
            for name, cells in others.items():
                cells.append(cell_of(report.baseline_average(name, label, group), definition))
            if published and label in published:
                mean = report.average(label).mean if group is None else None
                change = '' if mean is None else with_sign(mean - published[label], definition)
                for cells in (blurred, *others.values()):
                    cells += ['', '']
                ours += [number(published[label], definition) if group is None else '', change]
        rows += [tuple(blurred), *map(tuple, others.values()), tuple(ours)]
    return Table(tuple(head), tuple(rows))


def summaries(reports: Sequence[Report], names: Sequence[str]) -> Table:
    """Return the averages of the blurred input, of all baselines, and of the runs.

    A cell is empty where a run does not have a score. What several runs have, the blurred input and baselines of one
    name, is that of the first of them.

    Args:
        reports: of the runs, on one data set.
        names: of the runs in the table.
    """
    shown = {definition.label: definition for report in reports for definition in shown_definitions(report)}
    cells: dict[str, dict[str, str]] = {}
    for report in reports:
        for definition in shown_definitions(report):
            label = definition.label
            averages = {'blurred input': report.input_average(label)}
            averages |= {name: report.baseline_average(name, label) for name in report.baselines}
            for name, average in averages.items():
                row = cells.setdefault(name, {'': str(len(report.rows))})
                if average.count:
                    row.setdefault(label, cell_of(average, definition))
    runs = [
        {'': str(len(report.rows))}
        | {item.label: cell_of(report.average(item.label), item) for item in shown_definitions(report)}
        for report in reports
    ]
    head = ('', 'images', *map(title_of, shown.values()))
    rows = [*cells.items(), *zip(names, runs, strict=True)]
    return Table(head, tuple((name, *(row.get(label, '') for label in ('', *shown))) for name, row in rows))


def summary_markdown(reports: Sequence[Report], published: Published | None = None) -> str:
    """Return the averages of all data sets of a run, with definitions and facts."""
    parts = [f'# {markdown_text(reports[0].facts.run)}']
    for report in reports:
        parts += [
            f'## {markdown_text(report.dataset)}',
            summary_table(report, (published or {}).get(report.dataset)).markdown(),
        ]
        parts += [
            f'![{markdown_text(item.variant)}]({figure_file(report, item.label)})'
            for item in shown_definitions(report)
            if item.cumulative
        ]
        parts += [markdown_text(note) for note in notes_of(report)]
    definitions = {definition.label: definition for report in reports for definition in report.definitions}
    rows = tuple(
        (item.label, item.variant, item.text, item.data_range, ', '.join(f'{k}={v}' for k, v in item.settings.items()))
        for item in definitions.values()
    )
    parts += [
        '## Definitions',
        Table(('label', 'variant', 'definition', 'data range', 'settings'), rows, numbers=False).markdown(),
    ]
    parts += ['## Run', Table(('', ''), tuple(facts_lines(reports[0])), numbers=False).markdown()]
    return '\n\n'.join(parts) + '\n'


def write_summary(folder: Path, reports: Sequence[Report], published: Published | None = None) -> Path:
    """Write ``summary.md`` atomically.

    Args:
        folder: the result folder; created if needed.
        reports: of one run.
        published: scores of a paper by data set and label.

    Raises:
        OSError: the folder is not writable, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / SUMMARY, summary_markdown(reports, published).encode())
    return folder / SUMMARY


def notes_of(report: Report) -> list[str]:
    """Return the notes below the averages of a data set."""
    notes = []
    if report.collapsed:
        notes.append(f'Collapsed: {", ".join(report.collapsed)}.')
    if report.skipped:
        listed = '; '.join(f'{name} ({reason})' for name, reason in report.skipped.items())
        notes.append(f'Skipped, not in the averages: {listed}.')
    tiled = sum(row.tiled for row in report.rows)
    if tiled:
        notes.append(f'Processed in tiles: {tiled} of {len(report.rows)} images.')
    notes += [f'Not scored: {item.label}. {item.missing}.' for item in report.definitions if item.missing]
    marks = Counter(mark for row in report.rows for mark in row.marks)
    return notes + [f'Marked {mark}: {count} of {len(report.rows)} images.' for mark, count in sorted(marks.items())]


def facts_lines(report: Report) -> list[tuple[str, str]]:
    """Return the facts of a run as names and values, without empty values."""
    facts = report.facts
    lines = [
        ('network', facts.network),
        ('checkpoint', facts.checkpoint),
        ('SHA-256 of the checkpoint', facts.checkpoint_sha256),
        ('options', facts.options),
        ('date', facts.date),
        ('device', facts.device),
        ('versions', ', '.join(f'{name} {version}' for name, version in facts.versions.items())),
    ]
    return [(what, value) for what, value in lines if value]


def shown_definitions(report: Report) -> list[Definition]:
    """Return the definitions of labels with at least one score."""
    return [item for item in report.definitions if report.average(item.label).count]


def title_of(definition: Definition) -> str:
    """Return a column title: the exact name of the metric and its unit."""
    return f'{definition.variant}, {definition.unit}' if definition.unit else definition.variant


def cell_of(average: Average, definition: Definition) -> str:
    """Format a mean; rates in percent with their counts."""
    text = number(average.mean, definition)
    if definition.unit == '%' and average.count:
        return f'{text} ({round(average.sum / 100)} of {average.count})'
    return f'{text} ({average.infinite} infinite)' if average.infinite else text


def number(value: float | None, definition: Definition) -> str:
    """Format a score with the decimals of its metric; return an empty cell for None."""
    if value is None:
        return ''
    return f'{value:.{definition.decimals}f}' if math.isfinite(value) else str(value)


def with_sign(value: float, definition: Definition, more: int = 0) -> str:
    """Format a difference with its sign and optionally more decimals."""
    return f'{value:+.{definition.decimals + more}f}'


_LATEX = {**{sign: f'\\{sign}' for sign in '&%$#_{}'}, '\\': r'\textbackslash{}', '~': r'\textasciitilde{}'}
_LATEX |= {'^': r'\textasciicircum{}', **{sign: f'${sign}$' for sign in '<>|'}, '≥': r'$\geq$', '≤': r'$\leq$'}


def _escaped_for_latex(text: str) -> str:
    """Escape text for LaTeX; a hyphen before a number is a minus sign."""
    minus = re.sub(r'(?<![\w.])-(?=\d)', '\0', ' '.join(text.split()))
    escaped = ''.join('$-$' if sign == '\0' else _LATEX.get(sign, sign) for sign in minus)
    # after the end of a row, a bracket would begin its option, and a star would be lost
    return f'{{{escaped[0]}}}{escaped[1:]}' if escaped.startswith(('[', '*')) else escaped


def markdown_text(text: str) -> str:
    """Escape text for Markdown."""
    return re.sub(r'([\\`*_\[\]<>|#~$&])', r'\\\1', ' '.join(text.split()))
