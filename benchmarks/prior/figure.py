"""Draw mean differences with their intervals as SVG."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from basicsr.reporting.line_chart import COLOURS, WIDTH, Axis, document

_LEFT, _RIGHT, _ROW, _TOP = 310, 24, 42, 20


@dataclass(frozen=True)
class Bar:
    """A mean with its interval.

    Args:
        name: beside it.
        meaning: below the name.
        mean: in dB.
        low: lower end.
        high: upper end.
        by_seed: mean of each seed.
        strong: the primary comparison.
    """

    name: str
    meaning: str
    mean: float
    low: float
    high: float
    by_seed: Sequence[float] = ()
    strong: bool = False


def draw(bars: Sequence[Bar]) -> str:
    """Return an SVG image: a line for each interval, a square for its mean, circles for single seeds."""
    values = [0.0, *(value for bar in bars for value in (bar.low, bar.high, *bar.by_seed))]
    axis, bottom = Axis(values, _LEFT, WIDTH - _RIGHT, 8), _TOP + _ROW * len(bars)

    def at(value: float) -> str:
        return f'{float(axis.place(value)):.1f}'

    parts = []
    for value in axis.ticks():
        zero = abs(value) < axis.step / 2
        colour, label = ('#444444', '0') if zero else ('#dddddd', ('+' if value > 0 else '') + axis.label(value))
        parts.append(f'<path d="M{at(value)} {_TOP - 8}V{bottom}" stroke="{colour}"/>')
        parts.append(f'<text x="{at(value)}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    title = 'difference in PSNR, dB (square: mean; circles: single seeds)'
    parts.append(f'<text x="{_LEFT}" y="{bottom + 40}">{title}</text>')
    for row, bar in enumerate(bars):
        y = _TOP + _ROW * row + _ROW // 2
        colour, weight = (COLOURS[2], 'bold') if bar.strong else (COLOURS[1], 'normal')
        parts.append(f'<text x="8" y="{y - 2}" font-weight="{weight}">{html.escape(bar.name)}</text>')
        parts.append(f'<text x="8" y="{y + 12}" font-size="12">{html.escape(bar.meaning)}</text>')
        parts.append(f'<path d="M{at(bar.low)} {y}H{at(bar.high)}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<path d="M{at(bar.mean)} {y - 5}v10" stroke="{colour}" stroke-width="10"/>')
        parts += [f'<circle cx="{at(value)}" cy="{y}" r="3.5" fill="none" stroke="{colour}"/>' for value in bar.by_seed]
    return document(WIDTH, bottom + 50, title, parts)
