"""Paths and kernels of synthetic motion blur."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.data.motion import (
    at_times,
    draw_length,
    load_kernel,
    path_of_kernel,
    samples_for,
    shake_path,
    straight_path,
)
from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.utils.errors import ArgumentError, ImageFileError, ShapeError
from tests.helpers.blur_kernels import kernel_of_path

pytestmark = pytest.mark.numeric


def test_path_lengths_follow_their_distribution() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([draw_length(rng, 10.0, 2.0) for _ in range(4000)])
    assert abs(lengths.mean() - 10) < 0.5
    assert abs(lengths.var() - 50) < 5
    paths = [shake_path(length, rng, samples_for(length, 201)) for length in lengths[:400]]
    walked = [np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in paths]
    assert abs(np.mean(walked) / lengths[:400].mean() - 1) < 0.1
    assert draw_length(rng, 0.0, 2.0) == 0


@pytest.mark.parametrize('samples', [1, 3, 21])
def test_the_middle_of_a_path_is_zero(samples: int) -> None:
    for path in (straight_path(8, 1.0, samples), shake_path(8, np.random.default_rng(0), samples)):
        assert path.shape == (samples, 2)
        np.testing.assert_allclose(path[samples // 2], 0, atol=1e-12)
    with pytest.raises(ArgumentError, match='odd'):
        straight_path(8, 0.0, 4)


def test_kernel_files(tmp_path: Path) -> None:
    kernel = np.zeros((9, 12))
    kernel[2, 3:9] = kernel[3:7, 8] = 1.0
    np.save(tmp_path / 'k.npy', kernel)
    cv2.imwrite(str(tmp_path / 'k.png'), (255 * kernel).astype(np.uint8))
    for name in ('k.npy', 'k.png'):
        path, weights = load_kernel(tmp_path / name)
        again = kernel_of_path(path, weights)
        rows, columns = np.nonzero(again > 1e-9)
        again = again[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_allclose(again, kernel[2:7, 3:9] / kernel.sum(), atol=1e-12)
        assert np.abs(weights @ path).max() < 0.501
    wide = np.random.default_rng(0).random((40, 41))
    path, weights = path_of_kernel(wide, most=64)
    assert len(path) <= 64
    np.testing.assert_allclose(weights.sum(), 1)
    assert np.abs(weights @ path).max() < 0.501


@pytest.mark.parametrize(
    'kernel', [np.ones((3, 3, 3)), np.ones(5), np.zeros((3, 3)), -np.ones((2, 2)), np.full((2, 2), np.nan)]
)
def test_kernels_that_are_none(tmp_path: Path, kernel: np.ndarray) -> None:
    np.save(tmp_path / 'bad.npy', kernel)
    with pytest.raises((ShapeError, ArgumentError), match=r'bad\.npy.*(shape|negative)'):
        SyntheticBlurDataset(kernel_files=[str(tmp_path / 'bad.npy')])
    for content in (b'no array', b"\x93NUMPY\x01\0\x40\0{'descr': ('<f4', (".ljust(74) + bytes(36)):
        (tmp_path / 'bad.npy').write_bytes(content)
        with pytest.raises(ImageFileError, match=r'bad\.npy'):
            load_kernel(tmp_path / 'bad.npy')


def test_a_path_at_other_times() -> None:
    path = at_times(straight_path(8, 0.0, 5), np.array([0.0, 0.25, 0.3, 1.0]))
    np.testing.assert_allclose(path, [[0, -4], [0, -2], [0, -1.6], [0, 4]], atol=1e-12)


def test_what_a_shake_looks_like_does_not_depend_on_the_samples() -> None:
    few, many = (shake_path(12, np.random.default_rng(4), samples) for samples in (17, 33))
    np.testing.assert_allclose(few, many[::2], atol=1e-9)
    assert np.abs(np.diff(many, 2, axis=0)).max() < 0.5  # it is smooth
