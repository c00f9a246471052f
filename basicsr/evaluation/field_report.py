"""Tables, files and the figure of effective receptive fields."""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.evaluation.field_shape import (
    GOOD_FIT,
    CentralSquare,
    Floats,
    GeneralisedNormal,
    central_squares,
    fit_generalised_normal,
    positions,
    profile,
)
from basicsr.evaluation.receptive_field import ReceptiveField
from basicsr.reporting.images import encode, error_colours
from basicsr.reporting.line_chart import Line, line_chart
from basicsr.utils.errors import ArgumentError
from basicsr.utils.files import write_whole

FORMS = ('absolute', 'without_skip', 'positive')
_DECADES = 6
"""Range of the logarithmic colours of maps below the largest value."""
_PANEL, _GAP, _TITLE, _CHART = 300, 24, 46, (760, 420)


@dataclass(frozen=True)
class FieldRow:
    """The numbers of one form of a receptive field.

    Args:
        network: its name in tables.
        form: of the gradient, see :class:`~basicsr.evaluation.receptive_field.ReceptiveField`.
        size: side of the map in pixels.
        images: number of images.
        row, column: the fits of the central row and column; None where no curve fits.
        squares: central squares.
    """

    network: str
    form: str
    size: int
    images: int
    row: GeneralisedNormal | None
    column: GeneralisedNormal | None
    squares: tuple[CentralSquare, ...]

    def values(self) -> dict[str, str]:
        """Return the values by column."""
        found = {'network': self.network, 'form': self.form, 'size': str(self.size), 'images': str(self.images)}
        for axis, fit in (('', self.row), ('column_', self.column)):
            for name in ('sigma', 'beta', 'r2', 'erf_score', 'mu', 'amplitude'):
                found[f'{axis}{name}'] = '' if fit is None else f'{getattr(fit, name):.6g}'
        for square in self.squares:
            found |= {f'side_{square.share:.0%}': str(square.side), f'area_{square.share:.0%}': f'{square.area:.6g}'}
        return found


def rows_of(network: str, field: ReceptiveField) -> list[FieldRow]:
    """Return the numbers of all forms of a field."""
    rows = []
    for form, values in forms_of(field).items():
        row, column = (_fit(profile(values, axis)) for axis in (0, 1))
        squares = tuple(central_squares(values))
        rows.append(FieldRow(network, form, values.shape[1], field.images, row, column, squares))
    return rows


def forms_of(field: ReceptiveField) -> dict[str, Floats]:
    """Return the maps of a field by form."""
    return {form: values for form in FORMS if (values := getattr(field, form)) is not None}


def text_table(rows: Sequence[FieldRow]) -> str:
    """Return a Markdown table of the fits of the central row and of the areas.

    ``*`` marks fits with a low R², ``-`` rows that no curve fits.
    """
    shares = [f'{square.share:.0%}' for square in rows[0].squares]
    heads = ['network', 'form', 'σ', 'β', 'R²', 'erf_score', *(f'area of {share}' for share in shares)]
    lines = [heads, ['---'] * len(heads)]
    for row in rows:
        fit = ['-'] * 4
        if row.row is not None:
            mark = '' if row.row.r2 >= GOOD_FIT else ' *'
            fit = [f'{row.row.sigma:.3f}', f'{row.row.beta:.3f}', f'{row.row.r2:.3f}{mark}', f'{row.row.erf_score:.3f}']
        lines.append([row.network, row.form, *fit, *(f'{square.area:.3%}' for square in row.squares)])
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def write_fields(folder: Path, fields: Mapping[str, ReceptiveField]) -> list[FieldRow]:
    """Write ``erf.csv``, ``profiles.csv``, ``erf.svg`` and the maps as ``<network>.npz``.

    Args:
        folder: is created if necessary.
        fields: by name of the network; all of the same size.

    Returns:
        the rows of the table.

    Raises:
        ArgumentError: the central row or column of a map is zero.
        OSError: the folder is not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for name, field in fields.items() for row in rows_of(name, field)]
    _write_csv(folder / 'erf.csv', [row.values() for row in rows])
    profiles = {
        f'{name}: {form}': profile(values) for name, f in fields.items() for form, values in forms_of(f).items()
    }
    length = len(next(iter(profiles.values())))
    lines = []
    for pixel, position in enumerate(positions(length)):
        line = {'pixel': str(pixel - length // 2), 'position': f'{position:.6g}'}
        lines.append(line | {name: f'{values[pixel]:.6g}' for name, values in profiles.items()})
    _write_csv(folder / 'profiles.csv', lines)
    for name, field in fields.items():
        stream = io.BytesIO()
        np.savez_compressed(stream, **forms_of(field))  # type: ignore[arg-type]
        write_whole(folder / f'{re.sub(r"[^A-Za-z0-9_.-]+", "_", name)}.npz', stream.getvalue())
    write_whole(folder / 'erf.svg', figure(fields, {row.network: row for row in reversed(rows)}).encode())
    return rows


def figure(fields: Mapping[str, ReceptiveField], rows: Mapping[str, FieldRow]) -> str:
    """Draw maps in logarithmic colours, their central rows with the fits, and all central rows in one chart, as SVG.

    Args:
        fields: by name of the network; at most seven.
        rows: the numbers of the form 'absolute' by name of the network.

    Raises:
        ReportError: too many networks.
    """
    width = max(len(fields) * (_PANEL + _GAP) - _GAP, _CHART[0])
    small = _PANEL * _CHART[1] // _CHART[0] + 32
    parts, profiles = [], []
    for number, (name, field) in enumerate(fields.items()):
        left, fit = number * (_PANEL + _GAP), rows[name].row
        line, x = profile(field.absolute), positions(field.absolute.shape[1])
        pixels = np.arange(len(line)) - len(line) // 2
        lines, numbers = [Line('central row', x, line)], 'no curve fits'
        if fit is not None:
            lines.append(Line('generalised normal fit', x, fit(x)))
            numbers = f'σ {fit.sigma:.2f}, β {fit.beta:.2f}, R² {fit.r2:.2f}, score {fit.erf_score:.2f}'
        image = base64.b64encode(encode(_coloured(field.absolute), 'png')).decode()
        parts += [
            _text(left, 16, name),
            _text(left, 34, numbers),
            f'<image x="{left}" y="{_TITLE}" width="{_PANEL}" height="{_PANEL}" href="data:image/png;base64,{image}"/>',
        ]
        parts.append(_placed(line_chart(lines, 'position', 'share of the row'), left, _TITLE + _PANEL + 12, _PANEL))
        profiles.append(Line(name, pixels, np.log10(np.maximum(line, line.max() * 10.0**-_DECADES))))
    top = _TITLE + _PANEL + small + 30
    parts.append(_placed(line_chart(profiles, 'pixels from the centre', 'log10 of the share'), 0, top, _CHART[0]))
    height = top + _CHART[1] + 20 * len(fields) + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    style = 'font-family="sans-serif" font-size="13" role="img" aria-label="Effective receptive fields"'
    return '\n'.join(
        [f'{head} {style}>', f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, '</svg>\n']
    )


def _fit(line: Floats) -> GeneralisedNormal | None:
    """Fit a profile; one that no curve fits, such as that of an untrained network, does not end a comparison."""
    try:
        return fit_generalised_normal(line)
    except ArgumentError:
        return None


def _coloured(field: Floats) -> NDArray[np.uint8]:
    """Return a map in the colours of 'inferno', logarithmic, with at most about 512 pixels a side."""
    decades = np.log10(np.maximum(field / field.max(), 10.0**-_DECADES)) / _DECADES + 1
    levels = np.round(decades * 255).astype(np.uint8)
    if max(levels.shape) > 512:
        levels = np.asarray(cv2.resize(levels, (512, 512), interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(error_colours()[levels])


def _placed(svg: str, left: float, top: float, width: int) -> str:
    """Return a chart as a part of a larger image."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)" width="\d+" height="\d+"', svg)
    assert size is not None  # noqa: S101 - of our own charts
    tall = width * int(size.group(2)) / int(size.group(1))
    place = f'{size.group(0).partition(" width")[0]} x="{left}" y="{top}" width="{width}" height="{tall:.0f}"'
    return svg.replace(size.group(0), place, 1)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{html.escape(text)}</text>'


def _write_csv(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for line in lines for key in line)), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    write_whole(path, stream.getvalue().encode())
