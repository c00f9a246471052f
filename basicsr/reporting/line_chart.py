"""Draw charts as SVG, in colours that colour-blind readers can tell apart; lines differ in their dashes, too."""

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
_DASHES = ('', '9 4', '2 3', '9 3 2 3', '5 2', '13 4', '9 3 2 3 2 3')
WIDTH = 760
_LEFT, _BOTTOM, _LETTERS, _NARROW = 64, 52, 13, 400


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


def document(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return an SVG document of these parts on white.

    Args:
        width, height: in pixels.
        label: says what it shows, for readers who do not see it.
        parts: elements.
    """
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    style = f'font-family="sans-serif" font-size="{_LETTERS}" role="img" aria-label="{html.escape(label)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
    return '\n'.join([head, f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *parts, '</svg>']) + '\n'


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
    parts, names = chart(lines, x_title, y_title, title, WIDTH, 420), legend(lines, _LEFT, 432)
    return document(WIDTH, 424 + 20 * len(lines), title or y_title, [*parts, *names])


def chart(
    lines: Sequence[Line], x_title: str, y_title: str, title: str = '', width: int = WIDTH, height: int = 420
) -> list[str]:
    """Return the elements of a chart without its legend, for a larger document; see :func:`line_chart`."""
    if not 1 <= len(lines) <= len(COLOURS):
        raise ReportError(f'a chart has 1 to {len(COLOURS)} lines, got {len(lines)}')
    points = [(line, np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)) for line in lines]
    for line, x, y in points:
        if x.shape != y.shape or x.ndim != 1:
            raise ReportError(f'{line.name}: x and y have shapes {x.shape} and {y.shape}; expected two equal lengths')
    ticks = 6 if width > _NARROW else 3
    across = Axis(np.concatenate([x for _, x, _ in points]), _LEFT, width - 16, ticks, tight=True)
    bands = [np.asarray(band, np.float64) for line in lines for band in (line.low, line.high) if band is not None]
    top = 48 if title else 10
    up = Axis(np.concatenate([*(y for *_, y in points), *bands]), height - _BOTTOM, top, ticks)
    parts = [
        f'<text x="{_LEFT}" y="22" font-size="15">{html.escape(title)}</text>' if title else '',
        *_grid(across, up, x_title, y_title),
        *(_band(number, line, x, across, up) for number, (line, x, _) in enumerate(points)),
        *((_dots if line.points else _stroke)(number, x, y, across, up) for number, (line, x, y) in enumerate(points)),
    ]
    return [part for part in parts if part]


def legend(lines: Sequence[Line], left: float, top: float) -> list[str]:
    """Return the elements of a legend: a row of 20 pixels for each line."""
    parts = []
    for number, line in enumerate(lines):
        y = top + 20 * number
        sign = f'M{left + 20} {y - 4}h0' if line.points else f'M{left} {y - 4}h40'
        style = _dot_style(number) if line.points else _style(number)
        name = f'<text x="{left + 50}" y="{y}">{html.escape(line.name)}</text>'
        parts.append(f'<path d="{sign}" fill="none" {style}/>{name}')
    return parts


class Axis:
    """Values to pixels, with round ticks.

    Args:
        values: the axis covers the finite ones.
        start, end: in pixels.
        ticks: their number, about.
        tight: end at the smallest and the largest value instead of at ticks.
    """

    def __init__(self, values: ArrayLike, start: float, end: float, ticks: int, tight: bool = False) -> None:
        values = np.asarray(values, np.float64)
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise ReportError('a chart needs at least one finite value')
        low, high = float(finite.min()), float(finite.max())
        if low == high:
            low, high = low - 0.5, high + 0.5
        raw = (high - low) / ticks
        unit = 10.0 ** math.floor(math.log10(raw))
        self.step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * 0.999)
        if not tight:
            low, high = math.floor(low / self.step) * self.step, math.ceil(high / self.step) * self.step
        self.low, self.high, self.start, self.end = low, high, start, end

    def ticks(self) -> list[float]:
        """Return the round values on the axis."""
        first, last = math.ceil(self.low / self.step - 1e-9), math.floor(self.high / self.step + 1e-9)
        return [number * self.step for number in range(first, last + 1)]

    def label(self, value: float) -> str:
        """Return a tick as text, with the digits that its step needs."""
        return f'{value:.{max(0, -math.floor(math.log10(self.step) + 1e-9))}f}'

    def place(self, values: ArrayLike) -> Floats:
        """Return where values are, in pixels."""
        part = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        return np.asarray(self.start + part * (self.end - self.start))


def _grid(across: Axis, up: Axis, x_title: str, y_title: str) -> list[str]:
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


def _stroke(number: int, x: Floats, y: Floats, across: Axis, up: Axis) -> str:
    steps, pen = [], 'M'
    for a, b in zip(across.place(x), up.place(y), strict=True):
        if not (math.isfinite(a) and math.isfinite(b)):
            pen = 'M'
            continue
        steps.append(f'{pen}{a:.1f} {b:.1f}')
        pen = 'L'
    return f'<path d="{"".join(steps)}" fill="none" {_style(number)}/>'


def _dots(number: int, x: Floats, y: Floats, across: Axis, up: Axis) -> str:
    places = zip(across.place(x), up.place(y), strict=True)
    steps = [f'M{a:.1f} {b:.1f}h0' for a, b in places if math.isfinite(a) and math.isfinite(b)]
    return f'<path d="{"".join(steps)}" fill="none" {_dot_style(number)}/>'


def _dot_style(number: int) -> str:
    return f'stroke="{COLOURS[number]}" stroke-width="6" stroke-linecap="round" stroke-opacity="0.5"'


def _band(number: int, line: Line, x: Floats, across: Axis, up: Axis) -> str:
    if line.low is None or line.high is None:
        return ''
    low, high = np.asarray(line.low, np.float64), np.asarray(line.high, np.float64)
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    around = np.concatenate([x[known], x[known][::-1]]), np.concatenate([low[known], high[known][::-1]])
    corners = (f'{a:.1f},{b:.1f}' for a, b in zip(across.place(around[0]), up.place(around[1]), strict=True))
    return f'<polygon points="{" ".join(corners)}" fill="{COLOURS[number]}" fill-opacity="0.15"/>'


def _style(number: int) -> str:
    dashes = f' stroke-dasharray="{_DASHES[number]}"' if _DASHES[number] else ''
    return f'stroke="{COLOURS[number]}" stroke-width="2" stroke-linejoin="round"{dashes}'
