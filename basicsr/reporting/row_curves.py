"""The PSNR of every row of an image, averaged over images: as CSV, and as a chart of several runs."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basicsr.reporting.files import file_stem
from basicsr.reporting.line_chart import Line, line_chart
from basicsr.reporting.tables import Table
from basicsr.utils.errors import ReportError
from basicsr.utils.files import write_whole

Floats = NDArray[np.float64]

COLUMNS = ('row', 'images', 'psnr', 'psnr_input')
INPUT = 'blurred input'
_BANDS = 40  # of rows, in a chart; single rows are noisy


@dataclass(frozen=True)
class RowCurve:
    """The mean PSNR of each row, from the first one.

    Args:
        images: number of images that have the row, (rows,).
        output: of the restored images in dB, (rows,).
        lq: of the blurred images in dB, (rows,); NaN if unknown.
    """

    images: NDArray[np.int64]
    output: Floats
    lq: Floats


def curve_files(folder: Path, dataset: str) -> tuple[Path, Path]:
    """Return the paths of the CSV file and of the chart of a data set in a result folder."""
    stem = f'{file_stem(dataset)}_rows'
    return folder / f'{stem}.csv', folder / f'{stem}.svg'


def write_curve(folder: Path, dataset: str, run: str, curve: RowCurve) -> tuple[Path, Path]:
    """Write ``<dataset>_rows.csv`` and ``<dataset>_rows.svg`` atomically, and return their paths.

    Raises:
        OSError: the folder is not writable, or the disk is full.
    """
    stream = io.StringIO(newline='')
    writer = csv.writer(stream, lineterminator='\r\n')
    writer.writerow(COLUMNS)
    for row, (images, output, lq) in enumerate(zip(curve.images, curve.output, curve.lq, strict=True)):
        writer.writerow([row, int(images), float(output), '' if np.isnan(lq) else float(lq)])
    table, chart = curve_files(folder, dataset)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(table, stream.getvalue().encode())
    write_whole(chart, chart_of_curves({run: [curve]}, dataset).encode())
    return table, chart


def read_curve(folder: Path, dataset: str | None = None) -> tuple[str, RowCurve]:
    """Read the CSV file of a result folder.

    Args:
        folder: ``results/<run>``.
        dataset: name of the data set; None if there is only one.

    Returns:
        the name of the data set as part of a file name, and the curve.

    Raises:
        ReportError: no such file, several, or a damaged one.
    """
    found = sorted(folder.glob('*_rows.csv')) if dataset is None else [curve_files(folder, dataset)[0]]
    if len(found) != 1 or not found[0].is_file():
        there = ', '.join(path.name.removesuffix('_rows.csv') for path in sorted(folder.glob('*_rows.csv'))) or 'none'
        raise ReportError(
            f'{folder}: name one data set with a PSNR per row (there: {there}); evaluations write it with '
            '--force_yml val:psnr_per_row=true'
        )
    try:
        with found[0].open(newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        values = {key: [float(row[key] or 'nan') for row in rows] for key in COLUMNS}
    except (KeyError, ValueError, TypeError) as error:
        raise ReportError(f'{found[0]}: damaged ({error!r}); repeat the evaluation') from error
    if not rows or values['row'] != list(range(len(rows))):
        raise ReportError(f'{found[0]}: damaged (its rows are not numbered from 0); repeat the evaluation')
    columns = np.array(values['images'], np.int64), np.array(values['psnr']), np.array(values['psnr_input'])
    return found[0].name.removesuffix('_rows.csv'), RowCurve(*columns)


def chart_of_curves(runs: Mapping[str, Sequence[RowCurve]], dataset: str, gain: bool = False) -> str:
    """Draw the PSNR of rows: one line for the blurred input, and one for each name.

    Rows are averaged in up to 40 bands of equal height. Several curves of one name (seeds) become their mean with
    a band from the smallest to the largest.

    Args:
        runs: curves by name, of the same images.
        dataset: name, for the title.
        gain: draw the gain over the blurred input instead, which shows small differences.

    Returns:
        an SVG document.

    Raises:
        ReportError: the curves have different numbers of rows, or different blurred inputs; with ``gain``, the blurred
            input is unknown.
    """
    curves = [(name, curve) for name, members in runs.items() for curve in members]
    first = curves[0][1]
    for name, curve in curves:
        if len(curve.output) != len(first.output) or not np.allclose(curve.lq, first.lq, atol=1e-3, equal_nan=True):
            raise ReportError(
                f'{name}: its blurred images differ from those of {curves[0][0]}; compare equal data sets'
            )
    if gain and np.isnan(first.lq).all():
        raise ReportError(f'{curves[0][0]}: the PSNR of the blurred input is unknown, so there is no gain to draw')
    edges = np.unique(np.linspace(0, len(first.output), _BANDS + 1).round().astype(int))
    middle = (edges[:-1] + edges[1:] - 1) / 2

    def banded(values: Floats) -> Floats:
        return np.array([values[a:b].mean() for a, b in itertools.pairwise(edges)])

    lines = [Line(INPUT, middle, banded(0 * first.lq if gain else first.lq))]
    for name, members in runs.items():
        values = np.stack([banded(curve.output - curve.lq if gain else curve.output) for curve in members])
        several = {'low': values.min(0), 'high': values.max(0)} if len(members) > 1 else {}
        lines.append(Line(name, middle, values.mean(0), **several))
    what = 'Gain in PSNR' if gain else 'PSNR'
    return line_chart(lines, 'row', f'{what}, dB', f'{what} of each row, {dataset}')


def table_of_thirds(runs: Mapping[str, Sequence[RowCurve]]) -> Table:
    """Return the mean PSNR of the rows of each third, of the blurred input and of each name (mean over its curves)."""
    first = next(curve for members in runs.values() for curve in members)
    named = [(INPUT, [first.lq]), *((name, [curve.output for curve in members]) for name, members in runs.items())]
    rows = []
    for name, curves in named:
        mean = np.mean(curves, axis=0)
        third = len(mean) // 3
        parts = mean[:third], mean[third : 2 * third], mean[2 * third :], mean
        rows.append((name, *('' if np.isnan(part).all() else f'{part.mean():.2f}' for part in parts)))
    return Table(('PSNR of rows, dB', 'top', 'middle', 'bottom', 'all'), tuple(rows))
