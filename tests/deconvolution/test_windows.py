import numpy as np
import pytest
import torch

from basicsr.deconvolution.fourier import shifted
from basicsr.deconvolution.registration import positions, relative_shift
from basicsr.deconvolution.windows import LARGEST_SIDE, Window, layout, ramps
from tests.helpers.kernel_blur import blurred_scene, path_kernel


@pytest.mark.parametrize('size', [(255, 255), (720, 1280), (3000, 4000), (100, 9000), (361, 5000), (8000, 6000)])
@pytest.mark.parametrize('most', [1, 2, 24])
def test_windows_cover_the_photo(size, most):
    scale, windows = layout(*size, most)
    small = tuple(round(side * scale) for side in size)
    assert 0 < scale <= 1 and 1 <= len(windows) <= most
    covered = np.zeros(small, bool)
    for window in windows:
        assert window.top >= 0 and window.left >= 0
        assert max(window.height, window.width) <= 1.5 * LARGEST_SIDE
        covered[window.top : window.top + window.height, window.left : window.left + window.width] = True
    assert covered.all()


def test_ramps_have_no_step_inside():
    size = (500, 800)
    _, windows = layout(*size, 24)
    total, parts = torch.zeros(size), []
    for window in windows:
        weights = ramps(window, size, total)
        assert weights.min() > 0 and float(weights.max()) <= 1.01
        window.of(total).add_(weights)
        parts.append((window, weights))
    for window, weights in parts:
        share = torch.zeros(size)
        window.of(share).add_(weights)
        share /= total
        steps = max(float(share.diff(dim=axis).abs().max()) for axis in (0, 1))
        assert steps < 0.05


def test_parts_of_windows():
    first, second = Window(0, 0, 10, 20), Window(5, 15, 10, 20)
    assert first.common(second) == Window(5, 15, 5, 5)
    assert first.common(Window(10, 0, 4, 4)) is None
    assert second.grown(6, (18, 40)) == Window(0, 9, 18, 31)
    assert second.inside(Window(3, 4, 30, 40)) == Window(2, 11, 10, 20)


@pytest.mark.parametrize('move', [(0.0, 0.0), (1.3, -0.45), (-2.7, 3.1)])
def test_shifts_between_windows_are_found(move):
    gray = torch.from_numpy(blurred_scene(150, 180, path_kernel(5))[0].mean(2))
    second = shifted(gray, -move[0], -move[1])
    rows, columns, match = relative_shift(gray, second)
    assert (rows, columns) == (pytest.approx(move[0], abs=0.06), pytest.approx(move[1], abs=0.06))
    assert match > 0.95


def test_windows_that_do_not_match():
    noise = torch.rand(2, 90, 90, generator=torch.Generator().manual_seed(0))
    assert relative_shift(noise[0], noise[1])[2] < 0.3
    assert relative_shift(torch.ones(90, 90), noise[0]) == (0, 0, 0)
    assert relative_shift(noise[0, :20], noise[1, :20]) == (0, 0, 0)


def test_one_bad_measurement_moves_no_window():
    true = np.array([[0.5, -1], [1.5, 0], [-0.5, 0.5], [0.5, 1], [-1, 0.2], [-1, -0.7]])
    true -= true.mean(0)
    pairs = {(i, j): (*(true[j] - true[i]), 0.95) for i in range(6) for j in range(i + 1, 6) if j - i < 4}
    found = positions(6, dict(pairs.items()))
    np.testing.assert_allclose(np.diff(found, axis=0), np.diff(true, axis=0), atol=0.1)
    pairs[0, 1] = (5.0, -5.0, 0.9)
    np.testing.assert_allclose(np.diff(positions(6, pairs), axis=0), np.diff(true, axis=0), atol=0.2)
    assert not positions(3, {}).any()
