"""Draw mean differences with their intervals as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 760, 240, 20, 34, 20


@dataclass(frozen=True)
class Bar:
    """A mean with its interval.

    Args:
        name: beside it.
        mean: in dB.
        low: lower end.
        high: upper end.
        by_seed: mean of each seed.
        strong: the primary comparison.
    """

    name: str
    mean: float
    low: float
    high: float
    by_seed: Sequence[float] = ()
    strong: bool = False


def draw(bars: Sequence[Bar]) -> str:
    """Return an SVG image: a line for each interval, a square for its mean, circles for single seeds."""
    values = [0.0, *(value for bar in bars for value in (bar.low, bar.high, *bar.by_seed))]
    step = _step(max(values) - min(values))
    first, last = math.floor(min(values) / step), math.ceil(max(values) / step)
    scale = (_WIDTH - _LEFT - _RIGHT) / ((last - first) * step or 1)
    bottom = _TOP + _ROW * len(bars)

    def at(value: float) -> str:
        return f'{_LEFT + (value - first * step) * scale:.1f}'

    digits = max(0, -math.floor(math.log10(step)))
    parts = [f'<rect width="{_WIDTH}" height="{bottom + 50}" fill="white"/>']
    for number in range(first, last + 1):
        x, colour = at(number * step), '#444' if number == 0 else '#ddd'
        parts.append(f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{bottom}" stroke="{colour}"/>')
        label = f'{number * step:+.{digits}f}' if number else '0'
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    title = 'difference in PSNR, dB (square: mean; circles: single seeds)'
    parts.append(f'<text x="{_LEFT}" y="{bottom + 40}" fill="#444">{title}</text>')
    for row, bar in enumerate(bars):
        y = _TOP + _ROW * row + _ROW // 2
        colour, weight = ('#b3261e', 'bold') if bar.strong else ('#1f4e79', 'normal')
        parts.append(f'<text x="8" y="{y + 5}" font-weight="{weight}">{html.escape(bar.name)}</text>')
        line = f'<line x1="{at(bar.low)}" y1="{y}" x2="{at(bar.high)}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        circles = [f'<circle cx="{at(v)}" cy="{y}" r="3.5" fill="none" stroke="{colour}"/>' for v in bar.by_seed]
        square = f'<rect x="{float(at(bar.mean)) - 5:.1f}" y="{y - 5}" width="10" height="10" fill="{colour}"/>'
        parts += [line, square, *circles]
    size = f'width="{_WIDTH}" height="{bottom + 50}" viewBox="0 0 {_WIDTH} {bottom + 50}"'
    style = 'font-family="Helvetica, Arial, sans-serif" font-size="14" fill="#222"'
    body = '\n'.join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


def _step(span: float) -> float:
    """Return a round distance between ticks: at most eight of them."""
    raw = max(span, 1e-6) / 8
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
