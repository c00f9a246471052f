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
from basicsr.reporting.line_chart import WIDTH, Line, chart, document, legend
from basicsr.utils.errors import ArgumentError
from basicsr.utils.files import write_whole

FORMS = ('absolute', 'without_skip', 'positive')
_DECADES = 6
"""Range of the logarithmic colours of maps below the largest value."""
_COLUMNS, _PANEL, _GAP, _TITLE, _CHART = 3, 240, 20, 40, 180
_ROW = _TITLE + _PANEL + _CHART + _GAP
_LONGEST_NAME = 34


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
        for name in ('sigma', 'beta', 'erf_score'):
            both = [getattr(fit, name) for fit in (self.row, self.column) if fit is not None]
            found[f'mean_{name}'] = f'{sum(both) / 2:.6g}' if len(both) == 2 else ''
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
    write_whole(folder / 'erf.svg', figure(fields, rows).encode())
    return rows


def figure(fields: Mapping[str, ReceptiveField], rows: Sequence[FieldRow]) -> str:
    """Draw maps in logarithmic colours, their central rows with the fits, and all central rows in one chart, as SVG.

    The form is 'without_skip' if all networks have it: their skips would hide the rest. Otherwise, it is 'absolute'.

    Args:
        fields: by name of the network; at most seven.
        rows: the numbers of all forms.

    Raises:
        ReportError: too many networks.
    """
    form = 'without_skip' if all(field.without_skip is not None for field in fields.values()) else 'absolute'
    fits = {row.network: row.row for row in rows if row.form == form}
    parts, profiles, left, top = [], [], 0, 0
    for number, (name, field) in enumerate(fields.items()):
        left, top = number % _COLUMNS * (_PANEL + _GAP), number // _COLUMNS * _ROW
        values = forms_of(field)[form]
        fit, line, x = fits[name], profile(values), positions(values.shape[1])
        lines, numbers = [Line('central row', x, line)], 'no curve fits'
        if fit is not None:
            lines.append(Line('generalised normal fit', x, fit(x)))
            numbers = f'σ {fit.sigma:.2f}, β {fit.beta:.2f}, R² {fit.r2:.2f}, score {fit.erf_score:.2f}'
        short = name if len(name) <= _LONGEST_NAME else f'{name[: _LONGEST_NAME - 1]}…'
        parts += [_text(left, top + 14, short), _text(left, top + 31, numbers, 12)]
        parts += [_image(_coloured(values), left, top + _TITLE, _PANEL, _PANEL)]
        panel = chart(lines, 'position', 'share of the row', width=_PANEL + 16, height=_CHART)
        parts += [f'<g transform="translate({left} {top + _TITLE + _PANEL})" font-size="11">', *panel, '</g>']
        profiles.append(Line(name, np.arange(len(line)) - len(line) // 2, np.log10(np.maximum(line, 10.0**-_DECADES))))
    top += _ROW
    right = _PANEL + _GAP
    parts += legend([Line('central row', [], []), Line('generalised normal fit', [], [])], 0, top + 12)
    parts.append(_text(0, top + 50, f'form of the gradient: {form}', 12))
    parts.append(_text(right, top + 12, f'colours: 10^-{_DECADES} of the largest value of a map, or less', 12))
    parts.append(f'<text x="{WIDTH}" y="{top + 12}" font-size="12" text-anchor="end">largest value</text>')
    parts.append(_image(error_colours()[None], right, top + 18, WIDTH - right, 12))
    top += 70
    together = chart(profiles, 'pixels from the centre', 'log10 of the share of the row')
    parts += [f'<g transform="translate(0 {top})">', *together, *legend(profiles, 64, 432), '</g>']
    return document(WIDTH, top + 424 + 20 * len(fields), 'Effective receptive fields', parts)


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


def _image(pixels: NDArray[np.uint8], left: float, top: float, width: float, height: float) -> str:
    data = base64.b64encode(encode(pixels, 'png')).decode()
    place = f'x="{left}" y="{top}" width="{width}" height="{height}" preserveAspectRatio="none"'
    return f'<image {place} href="data:image/png;base64,{data}"/>'


def _text(x: float, y: float, text: str, size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}">{html.escape(text)}</text>'


def _write_csv(path: Path, lines: Sequence[Mapping[str, str]]) -> None:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(dict.fromkeys(key for line in lines for key in line)), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    write_whole(path, stream.getvalue().encode())
