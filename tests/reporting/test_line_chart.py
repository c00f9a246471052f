"""Charts: where lines are drawn, in which colours, and what is refused."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from basicsr.reporting.line_chart import COLOURS, Line, line_chart
from basicsr.utils.errors import ReportError

SVG = '{http://www.w3.org/2000/svg}'


def strokes(text, minimum=3):
    """The points of each drawn line, in pixels."""
    found = []
    for path in ElementTree.fromstring(text).iter(f'{SVG}path'):
        points = re.findall(r'[ML]([\d.]+) ([\d.]+)', path.get('d', ''))
        if len(points) >= minimum:
            found.append((path.get('stroke'), np.array(points, float), path.get('d'), path.get('stroke-dasharray')))
    return found


def test_lines_follow_their_values():
    text = line_chart([Line('a', [0, 1, 2], [10, 20, 30]), Line('b', [0, 1, 2], [30, 30, 30])], 'row', 'dB')
    (first, rising, *_), (second, flat, _, dashes) = strokes(text)
    assert (first, second) == COLOURS[:2] and dashes
    assert np.ptp(np.diff(rising, axis=0), axis=0).max() < 0.2  # equal steps to the right
    assert rising[0, 1] > rising[1, 1] > rising[2, 1] == flat[0, 1]  # larger values are higher
    assert np.array_equal(flat[:, 0], rising[:, 0])


def test_text_is_escaped_and_titles_are_there():
    text = line_chart([Line('<a> & "b"', [0, 1, 2], [1, 2, 3])], 'row', 'PSNR, dB', 'a < b')
    texts = [item.text for item in ElementTree.fromstring(text).iter(f'{SVG}text')]
    assert {'<a> & "b"', 'row', 'PSNR, dB', 'a < b'} <= set(texts)
    assert {'1.0', '2.0', '3.0'} <= set(texts) or {'1', '2', '3'} <= set(texts)


def test_nan_interrupts_a_line_and_a_band_surrounds_it():
    y = [1, 2, np.nan, 2, 1.0]
    text = line_chart([Line('a', range(5), y, low=np.array(y) - 1, high=np.array(y) + 1)], 'x', 'y')
    assert strokes(text)[0][2].count('M') == 2
    (band,) = ElementTree.fromstring(text).iter(f'{SVG}polygon')
    assert len(band.get('points').split()) == 8


def test_one_value_alone_can_be_drawn():
    assert 'NaN' not in line_chart([Line('a', [3], [7])], 'x', 'y')


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ([], '1 to 7 lines, got 0'),
        ([Line(str(number), [0, 1], [0, 1]) for number in range(8)], 'got 8'),
        ([Line('a', [0, 1], [0, 1, 2])], r'a: x and y .*\(2,\) and \(3,\)'),
        ([Line('a', [0, 1], [np.nan, np.nan])], 'finite'),
    ],
)
def test_charts_that_cannot_be_drawn_are_refused(lines, message):
    with pytest.raises(ReportError, match=message):
        line_chart(lines, 'x', 'y')
