"""Draw charts of lines and points as SVG, in colours that colour-blind readers can tell apart, lines also by dashes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from basicsr.utils.errors import ReportError

Floats = NDArray[np.float64]

COLOURS = ('#000000', '#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00')
"""The palette of Okabe and Ito ("Color Universal Design", 2008), without yellow, which is pale on white."""
_DASHES = ('', '9 4', '2 3', '9 3 2 3', '5 2', '13 4', '1 5')
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _LETTERS = 760, 420, 64, 40, 52, 13
_TICKS = 6


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Args:
        name: in the legend.
        x, y: the same number of values; NaN interrupts the line.
        low, high: a band around the line, such as the smallest and the largest of several runs; None draws none.
        points: whether to draw single points instead of a line.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    points: bool = False


def line_chart(lines: Sequence[Line], x_title: str, y_title: str, title: str = '') -> str:
    """Return a chart as an SVG document.

    Args:
        lines: at most seven; the first one is black.
        x_title: of the horizontal axis.
        y_title: of the vertical axis.
        title: above the chart.

    Raises:
        ReportError: no line, too many lines, lines of different lengths, or no finite value.
    """
    if not 1 <= len(lines) <= len(COLOURS):
        raise ReportError(f'a chart has 1 to {len(COLOURS)} lines, got {len(lines)}')
    points = [(line, np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)) for line in lines]
    for line, x, y in points:
        if x.shape != y.shape or x.ndim != 1:
            raise ReportError(f'{line.name}: x and y have shapes {x.shape} and {y.shape}; expected two equal lengths')
    across = _Axis(np.concatenate([x for _, x, _ in points]), _LEFT, _WIDTH - 16, tight=True)
    bands = [np.asarray(band, np.float64) for line in lines for band in (line.low, line.high) if band is not None]
    up = _Axis(np.concatenate([*(y for *_, y in points), *bands]), _HEIGHT - _BOTTOM, _TOP + 8)
    legend = [_legend(number, line) for number, line in enumerate(lines)]
    height = _HEIGHT + 20 * len(lines) + 4
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="{_LETTERS}" role="img" aria-label="{html.escape(title or y_title)}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{html.escape(title)}</text>',
        *_grid(across, up, x_title, y_title),
        *(_band(number, line, x, across, up) for number, (line, x, _) in enumerate(points)),
        *((_dots if line.points else _stroke)(number, x, y, across, up) for number, (line, x, y) in enumerate(points)),
        *legend,
        '</svg>',
    ]
    return '\n'.join(part for part in parts if part) + '\n'


class _Axis:
    """Values to pixels, with round ticks."""

    def __init__(self, values: Floats, start: int, end: int, tight: bool = False) -> None:
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ReportError('a chart needs at least one finite value')
        low, high = float(finite.min()), float(finite.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        raw = (high - low) / _TICKS
        unit = 10.0 ** math.floor(math.log10(raw))
        self.step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * 0.999)
        if not tight:
            low, high = math.floor(low / self.step) * self.step, math.ceil(high / self.step) * self.step
        self.low, self.high, self.start, self.end = low, high, start, end

    def ticks(self) -> list[float]:
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]

    def label(self, value: float) -> str:
        return f'{value:.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}'

    def place(self, values: ArrayLike) -> Floats:
        part = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        return np.asarray(self.start + part * (self.end - self.start))


def _grid(across: _Axis, up: _Axis, x_title: str, y_title: str) -> list[str]:
    parts = []
    for value in up.ticks():
        y = float(up.place(value))
        parts.append(f'<path d="M{across.start} {y:.1f}H{across.end}" stroke="#dddddd"/>')
        parts.append(f'<text x="{across.start - 8}" y="{y + 4:.1f}" text-anchor="end">{up.label(value)}</text>')
    for value in across.ticks():
        x = float(across.place(value))
        parts.append(f'<path d="M{x:.1f} {up.start}v5" stroke="#444444"/>')
        parts.append(f'<text x="{x:.1f}" y="{up.start + 20}" text-anchor="middle">{across.label(value)}</text>')
    parts.append(f'<path d="M{across.start} {up.start}H{across.end}" stroke="#444444"/>')
    middle = (across.start + across.end) / 2, (up.start + up.end) / 2
    parts.append(f'<text x="{middle[0]}" y="{up.start + 40}" text-anchor="middle">{html.escape(x_title)}</text>')
    turned = f'transform="translate(16 {middle[1]}) rotate(-90)"'
    return [*parts, f'<text {turned} text-anchor="middle">{html.escape(y_title)}</text>']


def _stroke(number: int, x: Floats, y: Floats, across: _Axis, up: _Axis) -> str:
    steps, pen = [], 'M'
    for a, b in zip(across.place(x), up.place(y), strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = 'M'
            continue
        steps.append(f'{pen}{a:.1f} {b:.1f}')
        pen = 'L'
    return f'<path d="{"".join(steps)}" fill="none" {_style(number)}/>'


def _dots(number: int, x: Floats, y: Floats, across: _Axis, up: _Axis) -> str:
    places = zip(across.place(x), up.place(y), strict=True)
    steps = [f'M{a:.1f} {b:.1f}h0' for a, b in places if math.isfinite(a) and math.isfinite(b)]
    return f'<path d="{"".join(steps)}" fill="none" {_dot_style(number)}/>'


def _dot_style(number: int) -> str:
    return f'stroke="{COLOURS[number]}" stroke-width="6" stroke-linecap="round" stroke-opacity="0.5"'


def _band(number: int, line: Line, x: Floats, across: _Axis, up: _Axis) -> str:
    if line.low is None or line.high is None:
        return ''
    low, high = np.asarray(line.low, np.float64), np.asarray(line.high, np.float64)
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    around = np.concatenate([x[known], x[known][::-1]]), np.concatenate([low[known], high[known][::-1]])
    corners = (f'{a:.1f},{b:.1f}' for a, b in zip(across.place(around[0]), up.place(around[1]), strict=True))
    return f'<polygon points="{" ".join(corners)}" fill="{COLOURS[number]}" fill-opacity="0.15"/>'


def _legend(number: int, line: Line) -> str:
    y = _HEIGHT + 12 + 20 * number
    sign = f'M{_LEFT + 20} {y - 4}h0' if line.points else f'M{_LEFT} {y - 4}h40'
    style = _dot_style(number) if line.points else _style(number)
    name = f'<text x="{_LEFT + 50}" y="{y}">{html.escape(line.name)}</text>'
    return f'<path d="{sign}" fill="none" {style}/>{name}'


def _style(number: int) -> str:
    dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ''
    return f'stroke="{COLOURS[number]}" stroke-width="2" stroke-linejoin="round"{dashes}'
