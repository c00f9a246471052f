"""Tables and files of a comparison of several runs: Markdown, LaTeX, and the gain against the blurred input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from basicsr.reporting.files import file_stem
from basicsr.reporting.line_chart import COLOURS, Line, line_chart
from basicsr.reporting.report import Definition
from basicsr.reporting.several_runs import RunsComparison
from basicsr.reporting.statistics import Estimate
from basicsr.reporting.tables import Table, markdown_text, number, summaries, title_of, with_sign
from basicsr.utils.errors import ReportError
from basicsr.utils.files import write_whole

_SMALLEST_P = 1e-4
_CLEAR = 0.05


def runs_table(comparison: RunsComparison) -> Table:
    """Return the differences of all runs from the reference, grouped by score."""
    percent = f'{100 * comparison.pairs[0].confidence:g} % interval'
    head = ('run', 'score', 'mean', 'difference', percent, 'p', 'p, Holm', 'better : worse')
    rows = []
    for label in dict.fromkeys(change.definition.label for change in comparison.changes):
        changes = [change for change in comparison.changes if change.definition.label == label]
        score = changes[0].definition
        own = comparison.reports[0].average(score.label).mean
        rows.append((comparison.names[0], title_of(score), number(own, score), *[''] * 5))
        for change in changes:
            difference, estimate = change.difference, change.estimate
            rows.append(
                (
                    change.run,
                    title_of(score),
                    number(difference.second, score),
                    with_sign(estimate.mean, score, 1),
                    interval(estimate, score),
                    p_text(estimate.p_value),
                    p_text(change.adjusted),
                    f'{difference.wins} : {difference.losses}',
                )
            )
    return Table(head, tuple(rows))


def interval(estimate: Estimate, definition: Definition) -> str:
    """Format a confidence interval; an empty cell without one."""
    if math.isnan(estimate.low):
        return ''
    return f'{with_sign(estimate.low, definition, 1)} to {with_sign(estimate.high, definition, 1)}'


def p_text(value: float) -> str:
    """Format a p-value; an empty cell without one."""
    if math.isnan(value):
        return ''
    return f'< {_SMALLEST_P:.4f}' if value < _SMALLEST_P else f'{value:.4f}'


def scene_table(comparison: RunsComparison) -> Table | None:
    """Return the main score of each scene, with the interval of each difference; None if scenes are single images."""
    if not comparison.scenes:
        return None
    score = comparison.main
    head = ['scene', 'images', 'blurred input', comparison.names[0]]
    head += [f'{name} - {comparison.names[0]}' for name in comparison.names[1:]]
    rows = []
    for scene in comparison.scenes:
        changes = []
        for mean, low, high in scene.changes:
            span = '' if low == high else f' ({with_sign(low, score, 1)} to {with_sign(high, score, 1)})'
            changes.append('' if math.isnan(mean) else with_sign(mean, score, 1) + span)
        reference = '' if math.isnan(scene.reference) else number(scene.reference, score)
        rows.append((scene.name, str(scene.images), number(scene.blurred, score), reference, *changes))
    return Table(tuple(head), tuple(rows))


def runs_notes(comparison: RunsComparison, tests: int) -> list[str]:
    """Return the notes below the table of differences.

    Args:
        comparison: of the runs.
        tests: number of p-values that were corrected together.
    """
    pair, first = comparison.pairs[0], comparison.names[0]
    method = {'bca': 'bias-corrected accelerated (BCa)', 'percentile': 'percentile'}[pair.method]
    count, images = len(comparison.scenes), len(comparison.reports[0].rows)
    units = _counted(count, 'scene') if count else _counted(images, 'image')
    way = 'each counted once' if count else 'treated as independent'
    tested = f'p: sign-flip test; Holm: corrected for {_counted(tests, "test")}. ' if tests else ''
    notes = [
        f'Difference: run minus {first}, over {units}, {way}. Paired bootstrap, {method}, {pair.resamples} resamples, '
        f'seed {pair.seed}; intervals are not adjusted for multiple comparisons. {tested}Means, better and worse: over '
        'images.'
    ]
    if pair.too_few_scenes:
        notes.append(
            f'All images show {_counted(pair.too_few_scenes, "scene")}, too few for tests and for intervals that hold '
            'for other scenes. These intervals are those of other images of the same scenes.'
        )
    elif (least := 2.0 ** (1 - (count or images))) * tests > _CLEAR:
        notes.append(f'With {units}, p cannot be below {least:.2g}.')
    if comparison.scenes:
        notes.append(
            f'Scenes: {title_of(comparison.main)}; intervals over the images of a scene, which resemble each other.'
        )
    for name, one in zip(comparison.names[1:], comparison.pairs, strict=True):
        notes += [
            f'{name}, {item.label}: {_counted(len(item.left_out), "image")} excluded: no finite score in both runs.'
            for item in one.differences
            if item.left_out
        ]
        notes += [
            f'{name}, {label}: not compared, no image has a finite score in both runs.' for label in one.not_compared
        ]
    if len(comparison.names) > len(COLOURS):
        notes.append(f'Charts show the first {len(COLOURS)} of {len(comparison.names)} runs.')
    return notes


def _counted(count: int, what: str) -> str:
    return f'{count} {what}{"" if count == 1 else "s"}'


def gain_chart(comparison: RunsComparison) -> str | None:
    """Draw the gain of each run over the blurred input against the score of the input, one point per image.

    Returns:
        an SVG document of the first seven runs; None if the blurred input was not scored.
    """
    score, lines = comparison.main, []
    for name, report in list(zip(comparison.names, comparison.reports, strict=True))[: len(COLOURS)]:
        gains = [(row.input_scores.get(score.label, math.nan), row.gain(score.label)) for row in report.rows]
        known = [(x, y) for x, y in gains if y is not None and math.isfinite(x) and math.isfinite(y)]
        if known:
            lines.append(Line(name, [x for x, _ in known], [y for _, y in known], points=True))
    if not lines:
        return None
    unit = f', {score.unit}' if score.unit else ''
    title = f'{comparison.dataset}: gain over the blurred input'
    return line_chart(lines, f'{score.variant} of the blurred input{unit}', f'gain{unit}', title)


def tables_of(comparison: RunsComparison) -> list[Table]:
    """Return the tables of a data set: differences, averages, scenes."""
    tables = runs_table(comparison), summaries(comparison.reports, comparison.names), scene_table(comparison)
    return [table for table in tables if table is not None]


def family_size(comparisons: Sequence[RunsComparison]) -> int:
    """Return the number of p-values that were corrected together."""
    return sum(not math.isnan(change.estimate.p_value) for one in comparisons for change in one.changes)


def check_page(page: Path) -> None:
    """Raise ReportError if a comparison cannot be written as this page and files beside it with other endings."""
    if page.suffix != '.html' or page.is_dir():
        raise ReportError(f'{page}: the page of a comparison is a file that ends in .html, such as {page.stem}.html')


def write_tables(page: Path, comparisons: Sequence[RunsComparison]) -> list[Path]:
    """Write the tables beside a page as Markdown and LaTeX, and the charts as SVG, each file atomically.

    Args:
        page: ends in ``.html``; the files get its name with other endings. Its folder is created if needed.
        comparisons: one per data set.

    Returns:
        paths of the files.

    Raises:
        ReportError: the page does not end in ``.html``, or is a folder.
        OSError: the folder is not writable, or the disk is full.
    """
    check_page(page)
    tests = family_size(comparisons)
    markdown, latex = [f'# {markdown_text(" · ".join(comparisons[0].names))}'], ['% needs \\usepackage{booktabs}']
    files: dict[Path, str] = {}
    for comparison in comparisons:
        tables, notes = tables_of(comparison), runs_notes(comparison, tests)
        markdown += [f'## {markdown_text(comparison.dataset)}', *(table.markdown() for table in tables)]
        markdown += map(markdown_text, notes)
        plain = ' '.join(f'{comparison.dataset}. {" ".join(notes)}'.split())
        latex += [f'% {plain}', *(table.latex() for table in tables)]
        chart = gain_chart(comparison)
        if chart is not None:
            name = f'{page.stem}_{file_stem(comparison.dataset)}_gain.svg'
            files[page.with_name(name)] = chart
            markdown.append(f'![Gain over the blurred input]({quote(name)})')
    files[page.with_suffix('.md')] = '\n\n'.join(markdown) + '\n'
    files[page.with_suffix('.tex')] = '\n\n'.join(latex) + '\n'
    page.parent.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        write_whole(path, text.encode())
    return list(files)
