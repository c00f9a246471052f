"""Planes to RGB and back: known colours by every matrix, changes that arrive, turns, and what is side by side."""

from __future__ import annotations

import numpy as np
import pytest

from basicsr.images.orientation import as_stored, upright
from basicsr.images.side_by_side import sizes
from basicsr.videos.colours import Colours, PlaneLayout, at_bits, planes_from_rgb, rgb_of, with_change
from basicsr.videos.display import orientation_of
from basicsr.videos.frame import Frame, size_beside
from tests.helpers.videos import TURNED

RNG = np.random.default_rng(0)


def layout(matrix=1, full=1, bits=8, across=1, down=1, height=64, primaries=2):
    return PlaneLayout(bits, across, down, Colours(matrix, primaries, 2, full), height)


@pytest.mark.parametrize(
    ('kind', 'colour', 'values'),
    [  # of the standards: white, black, and primaries as rounded from their equations
        (layout(1), (1, 1, 1), (235, 128, 128)),
        (layout(9, bits=10), (1, 1, 1), (940, 512, 512)),
        (layout(6), (0, 0, 0), (16, 128, 128)),
        (layout(6), (1, 0, 0), (81, 90, 240)),
        (layout(5), (0, 0, 1), (41, 240, 110)),
        (layout(1), (1, 0, 0), (63, 102, 240)),
        (layout(1), (0, 1, 0), (173, 42, 26)),
        (layout(9), (0, 0, 1), (29, 240, 119)),
        (layout(5, full=2), (1, 0, 0), (76, 85, 255)),
        (layout(8, full=2), (0, 1, 0), (128, 255, 128)),
        (layout(2, height=720), (1, 0, 0), (63, 102, 240)),
        (layout(2, height=719), (1, 0, 0), (81, 90, 240)),
        (layout(2, primaries=9), (0, 0, 1), (29, 240, 119)),
    ],
)
def test_known_colours(kind, colour, values):
    rgb = np.full((2, 3, 3), colour, np.float32)
    planes = planes_from_rgb(rgb, kind)
    assert [int(plane[1, 2]) for plane in planes] == pytest.approx(values, abs=1)
    step = 2 / (219 * 2 ** (kind.bits - 8))  # two roundings
    assert np.abs(rgb_of(planes, kind) - rgb).max() <= step


@pytest.mark.parametrize('matrix', [1, 4, 5, 6, 7, 8, 9])
@pytest.mark.parametrize('full', [1, 2])
@pytest.mark.parametrize('bits', [8, 10, 16])
def test_any_colour_comes_back(matrix, full, bits):
    kind = layout(matrix, full, bits)
    rgb = RNG.random((20, 30, 3), np.float32)
    back = rgb_of(planes_from_rgb(rgb, kind), kind)
    assert np.abs(back - rgb).max() <= 2.2 / (219 * 2 ** (bits - 8)) + 2e-6  # three roundings, weighed by at most 1.9


@pytest.mark.parametrize('across', [1, 2])
@pytest.mark.parametrize('down', [1, 2])
@pytest.mark.parametrize('full', [1, 2])
@pytest.mark.parametrize('size', [(12, 18), (13, 17), (2, 2), (1, 1)])
def test_what_nobody_changed_stays_bit_by_bit(across, down, full, size):
    kind = layout(1, full, 8, across, down)
    small = -(-size[0] // down), -(-size[1] // across)
    planes = [RNG.integers(0, 256, shape, np.uint8) for shape in (size, small, small)]
    seen = rgb_of(planes, kind)
    assert seen.shape == (*size, 3) and seen.dtype == np.float32 and seen.min() >= 0 and seen.max() <= 1
    assert all(map(np.array_equal, with_change(planes, seen, seen, kind), planes))
    assert all(map(np.array_equal, at_bits(at_bits(planes, 8, 10), 10, 8), planes))


@pytest.mark.parametrize('across', [1, 2])
@pytest.mark.parametrize('down', [1, 2])
@pytest.mark.parametrize('full', [1, 2])
def test_a_change_of_colour_arrives(across, down, full):
    kind = layout(1, full, 8, across, down)
    small = (16 // down, 20 // across)
    planes = [np.full((16, 20), 120, np.uint8), np.full(small, 120, np.uint8), np.full(small, 140, np.uint8)]
    before = rgb_of(planes, kind)
    after = before + np.float32([0.1, -0.05, 0.02])
    assert np.abs(rgb_of(with_change(planes, before, after, kind), kind) - after).max() <= 2 / 219


@pytest.mark.parametrize('full', [1, 2])
def test_chroma_lies_where_the_standards_say(full):
    """A ramp of colour is read as the same ramp: limited 4:2:0 has it at every second pixel, JPEG's between two."""
    kind = layout(1, full, 16, 2, 2)
    columns = np.arange(0, 20, 2) + (0.5 if full == 2 else 0.0)
    ramp = np.tile((30000 + 200 * columns).astype(np.uint16), (8, 1))
    planes = [np.full((16, 20), 30000, np.uint16), ramp, np.full((8, 10), 32768, np.uint16)]
    blue = rgb_of(planes, kind)[8, :, 2]
    slopes = np.diff(blue)[2:-3]
    assert slopes == pytest.approx(np.full_like(slopes, slopes.mean()), rel=0.02)
    values = (30000 + 200 * np.arange(20) - 32768) / (224 * 256 if full == 1 else 65535) * 2 * (1 - 0.0722)
    luma = (30000 - 16 * 256) / (219 * 256) if full == 1 else 30000 / 65535
    assert blue[4:-4] == pytest.approx(luma + values[4:-4], abs=1e-4)


@pytest.mark.parametrize('matrix', [None, *TURNED.values()])
def test_turns_come_back(matrix):
    orientation = orientation_of(matrix)
    image = RNG.random((4, 6, 3))
    assert np.array_equal(as_stored(upright(image, orientation), orientation), image)
    if matrix is not None:  # a stored pixel (p, q) is shown at (a p + c q + x, b p + d q + y)
        a, b, c, d = (round(value / 65536) for value in (*matrix[:2], *matrix[3:5]))
        rows, columns = image.shape[:2]
        places = [(a * p + c * q, b * p + d * q, image[q, p]) for q in range(rows) for p in range(columns)]
        left, top = min(x for x, _, _ in places), min(y for _, y, _ in places)
        assert all(np.array_equal(upright(image, orientation)[y - top, x - left], value) for x, y, value in places)


def test_a_slanted_display_is_not_turned():
    assert orientation_of((46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)) == 1


@pytest.mark.parametrize('turn', [1, 2, 5, 7, 8])
@pytest.mark.parametrize('sampling', [(1, 1), (2, 1), (2, 2)])
def test_a_frame_beside_its_result(turn, sampling):
    kind = layout(1, 1, 8, *sampling)
    shapes = [(32, 48), *[(32 // sampling[1], 48 // sampling[0])] * 2]
    left = Frame(
        [np.full(*each, np.uint8) for each in zip(shapes, (100, 120, 130), strict=True)], kind, orientation=turn
    )
    right = Frame(
        [np.full(*each, np.uint8) for each in zip(shapes, (180, 120, 130), strict=True)], kind, orientation=turn
    )
    shown = left.beside(right).whole()
    height, width = left.whole().shape[:2]
    header, gap = sizes(height, width, 4)
    assert shown.shape == (height + header, 2 * width + gap, 3)
    assert left.beside(right).planes[0].shape == size_beside((32, 48), turn)
    strip, shown = shown[: header - 2], shown[header + 2 :]  # chroma mixes over the edges
    assert strip.min() < 0.4 and strip.max() > 0.99
    assert np.abs(shown[:, : width - 2] - left.whole()[2:, 2:]).max() < 0.01
    assert np.abs(shown[:, -width + 2 :] - right.whole()[2:, 2:]).max() < 0.01
    assert shown[:, width + 1 : -width - 1].min() > 0.9


@pytest.mark.parametrize('transfer', [16, 18])
def test_paper_beside_hdr_is_no_brighter_than_paper(transfer):
    kind = PlaneLayout(10, 2, 2, Colours(9, 9, transfer, 1), 64)
    frame = Frame([np.full(shape, 512, np.uint16) for shape in ((64, 96), (32, 48), (32, 48))], kind)
    code = {16: 0.58, 18: 0.75}[transfer]  # 203 cd/m2: BT.2408, table 1
    assert frame.beside(frame).planes[0].max() == round(64 + 876 * code)


def test_fields_are_pictures_of_their_own():
    kind = layout(1, 1, 8, 2, 2)
    planes = [RNG.integers(50, 200, shape, np.uint8) for shape in ((16, 12), (8, 6), (8, 6))]
    frame = Frame(planes, kind, interlaced=True)
    top, bottom = frame.images()
    assert top.shape == bottom.shape == (8, 12, 3)
    changed = frame.changed([top, bottom], [top, bottom + np.float32(0.1)])
    assert np.array_equal(changed.planes[0][::2], planes[0][::2]) and np.array_equal(changed.planes[1], planes[1])
    assert changed.planes[0][1::2].astype(int) - planes[0][1::2] == pytest.approx(np.full((8, 12), 21.9), abs=0.6)
