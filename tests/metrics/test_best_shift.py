"""PSNR and SSIM over the best shift against a plain loop, and the similarity of kernels."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from basicsr.metrics import (
    Record,
    build_metric,
    calculate_kernel_similarity,
    calculate_metric,
    calculate_psnr,
    calculate_psnr_best_shift,
    calculate_ssim,
    calculate_ssim_best_shift,
    find_best_shift,
)
from basicsr.utils.errors import MetricError

pytestmark = pytest.mark.numeric


def scene(shape: tuple[int, ...], dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 1, cv2.NORM_MINMAX).reshape(shape)
    return smooth if dtype is np.float32 else (smooth * np.iinfo(dtype).max).round().astype(dtype)


def all_shifts(image: np.ndarray, gt: np.ndarray, most: int, border: int) -> dict[tuple[int, int], float]:
    height, width = gt.shape[:2]
    target = gt[border : height - border, border : width - border]
    moves = range(-most, most + 1)
    return {
        (i, j): calculate_psnr(image[border + i : height - border + i, border + j : width - border + j], target)
        for i in moves
        for j in moves
    }


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize('shape', [(48, 61), (41, 50, 1), (52, 47, 3)])
def test_the_search_equals_a_loop_over_all_shifts(shape, dtype):
    gt = scene(shape, dtype)
    moved = np.roll(gt, (-3, 5), axis=(0, 1))
    for image in (moved, cv2.GaussianBlur(moved, (0, 0), 2).reshape(shape), scene(shape, dtype, seed=1)):
        scores = all_shifts(image, gt, 6, 9)
        best = max(scores, key=scores.get)
        assert find_best_shift(image, gt, 6, 9) == best
        assert calculate_psnr_best_shift(image, gt, 6, 9) == pytest.approx(scores[best], abs=1e-6)
    assert find_best_shift(moved, gt, 6, 9) == (-3, 5)
    assert calculate_psnr_best_shift(moved, gt, 6, 9) == math.inf
    assert calculate_ssim_best_shift(moved, gt, 6, 9) == 1


def test_ssim_is_that_of_the_shift_with_the_best_psnr():
    gt = scene((60, 70, 3))
    image = np.roll(cv2.GaussianBlur(gt, (0, 0), 1), (2, -1), axis=(0, 1))
    assert find_best_shift(image, gt) == (2, -1)
    expected = calculate_ssim(image[17:47, 14:54], gt[15:45, 15:55])
    assert calculate_ssim_best_shift(image, gt) == pytest.approx(expected, abs=1e-12)
    assert expected > calculate_ssim(image, gt, crop_border=15) + 0.1


def test_one_wrong_value_among_millions_is_found():
    """A rounding error of the sums must not hide it, nor make identical images differ."""
    gt = np.full((900, 1200, 3), 250, np.uint8)
    assert calculate_psnr_best_shift(gt, gt, 2, 3) == math.inf
    assert find_best_shift(gt, gt, 2, 3) == (0, 0)
    image = gt.copy()
    image[450, 600, 1] = 249
    assert calculate_psnr_best_shift(image, gt, 2, 3) == calculate_psnr(image, gt, 3)


def test_the_scores_follow_the_arguments():
    gt = scene((50, 50, 3))
    image = np.roll(gt, 4, axis=1)
    assert calculate_psnr_best_shift(image, gt, 4, 4) == math.inf
    assert calculate_psnr_best_shift(image, gt, 3, 4) < 40
    assert calculate_psnr_best_shift(image, gt, 0, 0) == calculate_psnr(image, gt)
    tensors = [torch.from_numpy(each.transpose(2, 0, 1).copy()) for each in (image, gt)]
    assert find_best_shift(*tensors) == (0, 4)
    assert find_best_shift(image.transpose(2, 0, 1), gt.transpose(2, 0, 1), input_order='CHW') == (0, 4)
    assert calculate_psnr_best_shift(image, gt, 0, 0, data_range=510.0) == pytest.approx(
        calculate_psnr(image, gt) + 20 * math.log10(2)
    )


@pytest.mark.parametrize('function', [find_best_shift, calculate_psnr_best_shift, calculate_ssim_best_shift])
def test_bad_arguments_are_refused(function):
    gt = scene((40, 40, 3))
    for arguments, word in (((6, 5), 'crop_border'), ((6, 20), '20'), ((-1, 5), 'max_shift'), ((1.5, 5), 'max_shift')):
        with pytest.raises(MetricError, match=word):
            function(gt, gt, *arguments)
    with pytest.raises(MetricError, match='39'):
        function(gt, gt[1:], 6, 15)
    with pytest.raises(MetricError, match='NaN'):
        function(gt / np.nan, gt / 255, 6, 15)


def test_records_and_option_files():
    gt = scene((60, 64, 3))
    output = np.roll(cv2.GaussianBlur(gt, (0, 0), 1), (0, 3), axis=(0, 1))
    record = Record(output_uint8=output, gt=gt)
    psnr, ssim = (build_metric({'type': name}) for name in ('psnr_best_shift', 'calculate_ssim_best_shift'))
    assert (psnr.name, psnr.unit, ssim.name) == ('psnr_best_shift', 'dB', 'ssim_best_shift')
    assert psnr(record).value == calculate_psnr_best_shift(output, gt)
    assert ssim(record).value == calculate_ssim_best_shift(output, gt)
    assert psnr(Record(output_uint8=gt, gt=gt)).marks == ('infinite',)
    smaller = build_metric({'type': 'psnr_best_shift', 'max_shift': 2, 'crop_border': 2})
    assert smaller(record).value == calculate_psnr_best_shift(output, gt, 2, 2)
    assert smaller(record).value < psnr(record).value - 3
    with pytest.raises(MetricError, match='crop_border'):
        build_metric({'type': 'psnr_best_shift', 'max_shift': 16})


def test_similarity_of_kernels():
    kernel = np.random.default_rng(0).random((7, 9)) ** 4
    assert calculate_kernel_similarity(kernel, kernel) == pytest.approx(1, abs=1e-12)
    moved = np.zeros((15, 15), np.float32)
    moved[5:12, 1:10] = 3 * kernel
    assert calculate_kernel_similarity(torch.from_numpy(kernel), moved) == pytest.approx(1, abs=1e-6)
    flipped = kernel[::-1, ::-1]
    norm = np.square(kernel).sum()
    products = [
        (np.pad(kernel, 9)[i : i + 7, j : j + 9] * flipped).sum() / norm for i in range(3, 16) for j in range(1, 18)
    ]
    assert calculate_kernel_similarity(kernel, flipped) == pytest.approx(max(products), abs=1e-12)
    assert max(products) < 0.9
    assert calculate_metric({'img': kernel, 'img2': flipped}, {'type': 'calculate_kernel_similarity'}) == (
        pytest.approx(max(products), abs=1e-12)
    )


@pytest.mark.parametrize('bad', [np.zeros((3, 3)), -np.eye(3), np.ones((3, 3, 1)), np.full((3, 3), np.nan)])
def test_what_is_no_kernel_is_refused(bad):
    for pair in ((bad, np.eye(3)), (np.eye(3), bad)):
        with pytest.raises(MetricError):
            calculate_kernel_similarity(*pair)
