"""The guard fires on collapses of many kinds, never on good results, and mends what it finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from basicsr.inference.collapse_guard import CELL, Finding, find_collapse, with_input_there

pytestmark = pytest.mark.numeric

SIZE = (200, 264)  # no multiples of a cell
SPOT = slice(48, 144), slice(64, 176)


def tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]


def blurred_and_sharp():
    sharp = cv2.resize(data.astronaut(), (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA) / 255
    kernel = np.zeros((9, 9))
    kernel[4] = 1 / 9
    return cv2.filter2D(sharp, -1, kernel, borderType=cv2.BORDER_REFLECT), sharp


@pytest.fixture(scope='module')
def pictures():
    return tuple(map(tensor, blurred_and_sharp()))


def blob(x):
    x[:, 0][:, SPOT[0], SPOT[1]] = 1.0
    x[:, 1:][:, :, SPOT[0], SPOT[1]] = 0.0


def dark(x):
    x[:, :, SPOT[0], SPOT[1]] *= 0.05


def colour_cast(x):
    x[:, 2, SPOT[0], SPOT[1]] += 0.35


def tint(x):
    x[:, 0, SPOT[0], SPOT[1]] += 0.16
    x[:, 2, SPOT[0], SPOT[1]] -= 0.16


def mosaic(x):
    generator = torch.Generator().manual_seed(0)
    tiles = torch.rand(1, 3, 12, 14, generator=generator)
    x[:, :, SPOT[0], SPOT[1]] = tiles.repeat_interleave(8, 2).repeat_interleave(8, 3)


def checker(period, size):
    def spoil(x):
        rows, columns = np.indices(x.shape[-2:]) // (period // 2)
        pattern = torch.from_numpy(((rows + columns) % 2 * 2 - 1).astype(np.float32)) * size
        x[:, :, SPOT[0], SPOT[1]] += pattern[SPOT[0], SPOT[1]]

    return spoil


def stripes(x):
    columns = torch.arange(x.shape[-1]) % 2 * 2 - 1.0
    x[:, :, SPOT[0], SPOT[1]] += 0.2 * columns[SPOT[1]]


def noise(x):
    generator = torch.Generator().manual_seed(1)
    spot = x[:, :, SPOT[0], SPOT[1]]
    spot += 0.5 * torch.randn(spot.shape, generator=generator)


def explosion(x):
    spot = x[:, :, SPOT[0], SPOT[1]]
    spot -= 0.5
    spot *= 40


def not_a_number(x):
    x[:, 1, 100, 100] = torch.nan


def infinite(x):
    x[:, 0, 199, 263] = -torch.inf


COLLAPSES = {
    'blob': (blob, 'colours'),
    'dark': (dark, 'colours'),
    'colour_cast': (colour_cast, 'colours'),
    'tint': (tint, 'colours'),
    'mosaic': (mosaic, 'colours'),
    'checker of 2': (checker(2, 0.15), 'pattern'),
    'checker of 4': (checker(4, 0.25), 'pattern'),
    'checker of 8': (checker(8, 0.3), 'pattern'),
    'checker of 16': (checker(16, 0.45), 'pattern'),
    'stripes': (stripes, 'pattern'),
    'noise': (noise, 'pattern'),
    'explosion': (explosion, 'range'),
    'not a number': (not_a_number, 'numbers'),
    'infinite': (infinite, 'numbers'),
}


@pytest.mark.parametrize('name', COLLAPSES)
@pytest.mark.parametrize('from_sharp', [False, True])
def test_collapses_are_found_where_they_are(name, from_sharp, pictures):
    spoil, kind = COLLAPSES[name]
    lq, good = pictures[0], pictures[int(from_sharp)].clone()
    spoil(good)
    finding = find_collapse(lq, good)
    assert finding is not None and kind in finding.kinds
    assert finding.cells.shape == (-(-SIZE[0] // CELL), -(-SIZE[1] // CELL))
    if kind == 'numbers':
        assert finding.cells.sum() == 1 and finding.share == pytest.approx(1 / finding.cells.numel())
        return
    inside = torch.zeros_like(finding.cells)
    inside[SPOT[0].start // CELL : SPOT[0].stop // CELL, SPOT[1].start // CELL : SPOT[1].stop // CELL] = True
    assert (finding.cells & inside).sum() >= 0.5 * inside.sum()  # most of it
    assert (finding.cells & ~inside).sum() <= 0.35 * inside.sum()  # and little beside


@pytest.mark.parametrize('name', COLLAPSES)
def test_what_is_found_is_mended(name, pictures):
    lq, bad = pictures[0], pictures[1].clone()
    COLLAPSES[name][0](bad)
    mended, share = with_input_there(lq, bad, find_collapse(lq, bad))
    assert mended.isfinite().all() and 0 < share < 0.6
    again = find_collapse(lq, mended)
    assert again is None or again.share < 0.05
    far = (slice(None), slice(None), slice(-20, None), slice(0, 20))
    assert torch.equal(mended[far], bad[far])
    if COLLAPSES[name][1] != 'numbers':
        spot = (slice(None), slice(None), *SPOT)
        assert (mended - pictures[1])[spot].abs().mean() < 0.7 * (bad - pictures[1])[spot].abs().mean()


def test_good_results_are_left_alone(pictures):
    lq, sharp = pictures
    blur = tensor(cv2.GaussianBlur(lq[0].permute(1, 2, 0).numpy(), (0, 0), 2))
    generator = torch.Generator().manual_seed(2)
    for output in (lq, sharp, lq + (lq - blur), sharp + 0.02 * torch.randn(sharp.shape, generator=generator)):
        assert find_collapse(lq, output) is None


@pytest.mark.parametrize('size', [(1, 1), (1, 40), (15, 17), (16, 16), (33, 5), (200, 31)])
def test_small_pictures(size):
    lq = torch.full((1, 3, *size), 0.4)
    assert find_collapse(lq, lq + 0.1) is None
    assert find_collapse(lq, lq + 0.55).kinds == ('colours',)
    broken = lq.clone()
    broken[..., -1, -1] = torch.nan
    mended, _ = with_input_there(lq, broken, find_collapse(lq, broken))
    assert torch.equal(mended, lq)


def test_large_pictures_are_looked_at_in_bands(pictures):
    lq = torch.nn.functional.pad(pictures[0], (0, 0, 0, 1100), mode='replicate')
    bad = lq.clone()
    bad[:, :, 1010:1060, 30:120] = torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1, 1)  # across the end of the first band
    finding = find_collapse(lq, bad)
    assert finding.kinds[0] == 'colours' and finding.cells.shape == (82, 17)
    rows = finding.cells.any(1).nonzero()
    assert 58 <= rows.min() <= 64 and 65 <= rows.max() <= 70


def test_what_it_says(pictures):
    bad = pictures[0].clone()
    blob(bad)
    finding = find_collapse(pictures[0], bad)
    assert f'{finding.share:.1%}' in finding.text() and 'colours' in finding.text()


@pytest.mark.slow
def test_it_never_fires_on_real_pairs(shared_data):
    """The ground truth is a perfect deblurring: neither it nor a mild sharpening is a collapse."""
    names = [path for kind in ('pairs', 'kohler') for path in sorted((shared_data / kind / 'input').iterdir())]
    assert len(names) >= 60
    for path in names:
        lq = cv2.imread(str(path)) / 255
        gt = cv2.imread(str(path.parents[1] / 'target' / path.name)) / 255
        for output in (gt, lq, lq + 0.8 * (lq - cv2.GaussianBlur(lq, (0, 0), 2))):
            finding = find_collapse(tensor(lq), tensor(output))
            assert finding is None, f'{path.name}: {finding.text()}'


def test_the_cells_around_a_collapse_are_blended_as_well():
    lq, output = torch.zeros(1, 3, 5 * CELL, 5 * CELL), torch.ones(1, 3, 5 * CELL, 5 * CELL)
    cells = torch.zeros(5, 5, dtype=torch.bool)
    cells[2, 2] = True
    mended, share = with_input_there(lq, output, Finding(('colours',), cells))
    row = mended[0, 0, 2 * CELL + CELL // 2]
    assert not row[2 * CELL - 1 : 3 * CELL + 1].any()  # the damage and its edge
    assert 0 < row[CELL] < row[CELL // 2 + 1] < 1 and row[0] == 1  # the cell beside it, then the one beyond
    assert 1 / 25 < share < 25 / 25
