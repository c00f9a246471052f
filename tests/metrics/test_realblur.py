"""The aligned metrics of RealBlur on synthetic cases whose answer is known."""

from __future__ import annotations

import logging
from copy import deepcopy

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from basicsr.metrics import Record, align, build_metric, calculate_psnr, psnr_realblur, ssim_realblur
from basicsr.utils.errors import MetricError

pytestmark = pytest.mark.numeric

MARGIN = 16


def scene(seed: int = 0, size: tuple[int, int] = (232, 272)) -> np.ndarray:
    """Coloured structure of several scales, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.normal(size=(*size, 3)), (0, 0), sigma) * sigma for sigma in (1.5, 4, 12)]
    image = np.sum(noise, axis=0)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 3)


def inner(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[MARGIN:-MARGIN, MARGIN:-MARGIN])


def warped(image: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Move each corner by up to so many pixels."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-pixels, pixels, (4, 2)).astype(np.float32)
    homography = cv2.getPerspectiveTransform(corners, moved)
    return cv2.warpPerspective(image, homography, (width, height), flags=cv2.INTER_CUBIC)


@pytest.mark.parametrize('gain', [0.9, 1.0, 1.1])
@pytest.mark.parametrize('pixels', [1, 5])
def test_alignment_recovers_the_score_of_the_image_that_was_not_warped(gain, pixels):
    whole = scene()
    gt = inner(whole)
    moved = inner(blurred(warped(whole, pixels, np.random.default_rng(pixels)) * gain))
    unmoved = inner(blurred(whole))
    expected = calculate_psnr(unmoved, gt)
    assert calculate_psnr(moved, gt) < expected - 0.5 or (gain, pixels) == (1.0, 1)
    assert align(moved, gt).converged
    assert psnr_realblur(moved, gt) == pytest.approx(expected, abs=0.1)
    assert ssim_realblur(moved, gt) == pytest.approx(ssim_realblur(unmoved, gt), abs=0.01)


def test_without_warp_and_gain_it_is_plain_psnr():
    gt = scene()
    output = blurred(gt)
    assert psnr_realblur(output, gt) == pytest.approx(calculate_psnr(output, gt), abs=0.05)


def test_identical_images():
    gt = scene()
    assert psnr_realblur(gt, gt) > 60
    assert ssim_realblur(gt, gt) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize('value', [0.0, 0.5])
def test_an_output_that_cannot_be_aligned_counts_as_it_is_and_is_marked(value, caplog):
    gt = scene()
    flat = np.full_like(gt, value)
    with caplog.at_level(logging.WARNING, logger='basicsr'):
        assert psnr_realblur(flat, gt) == pytest.approx(calculate_psnr(flat, gt), abs=1e-6)
    assert 'converge' in caplog.text

    rounded = [(image * 255).round().astype(np.uint8) for image in (blurred(gt), flat, gt)]
    for name in ('psnr_realblur', 'ssim_realblur'):
        metric = build_metric({'type': name})
        scores = [metric(Record(output_uint8=output, gt=rounded[2])) for output in rounded[:2]]
        assert [score.marks for score in scores] == [(), ('not_aligned',)]
        assert all(np.isfinite(score.value) for score in scores)


def shifted(pixels: float) -> np.ndarray:
    """A homography that moves the picture to the left."""
    return np.array([[1, 0, pixels], [0, 1, 0], [0, 0, 1]], np.float32)


def test_the_border_that_the_warp_uncovers_does_not_count():
    whole = scene()
    moved = cv2.warpPerspective(blurred(whole), shifted(-9), whole.shape[1::-1], flags=cv2.INTER_CUBIC)
    output, gt = inner(moved), inner(whole)
    found = align(output, gt)
    known = found.mask > 0
    assert not known[:, :8].any()
    assert known[:, 10:].all()
    squared_error = np.square(found.output - gt, dtype=np.float64)[known].mean()
    assert psnr_realblur(output, gt) == pytest.approx(-10 * np.log10(squared_error), abs=1e-6)
    assert psnr_realblur(output, gt) == pytest.approx(calculate_psnr(inner(blurred(whole))[:, 9:], gt[:, 9:]), abs=0.05)

    gaussian = {'gaussian_weights': True, 'sigma': 1.5, 'use_sample_covariance': False, 'data_range': 1, 'full': True}
    similarity = structural_similarity(found.output, gt * known, channel_axis=2, **gaussian)[1]
    expected = similarity[5:-5, 5:-5][known[5:-5, 5:-5]].mean()
    assert ssim_realblur(output, gt) == pytest.approx(expected, abs=1e-5)


def test_the_search_is_that_of_the_protocol(monkeypatch):
    """RealBlur's settings, section 8 of the specification: others align a little differently, and so score."""
    from basicsr.metrics import realblur

    calls = []
    original = cv2.findTransformECC
    monkeypatch.setattr(cv2, 'findTransformECC', lambda *given: calls.append(deepcopy(given)) or original(*given))
    gt = scene()
    align(blurred(gt) * 0.9, gt)
    template, image, start, motion, criteria, _, filter_size = calls[0]
    assert (realblur.ITERATIONS, realblur.ECC_FILTER_SIZE) == (100, 5)
    assert criteria == (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0.0)
    assert np.array_equal(start, np.eye(3))
    assert (motion, filter_size) == (cv2.MOTION_HOMOGRAPHY, 5)
    assert np.allclose(template, cv2.cvtColor(gt, cv2.COLOR_RGB2GRAY))
    assert np.allclose(image.mean(), template.mean(), rtol=0.02)


@pytest.mark.parametrize('left', [-10, 0, 3])
def test_an_output_that_is_warped_out_of_the_picture_counts_as_it_is(left, monkeypatch):
    """Also where no more than ``left`` columns stay, all of them in the border that SSIM cuts."""
    gt = scene()
    output = blurred(gt)
    homography = shifted(gt.shape[1] - left)
    monkeypatch.setattr(cv2, 'findTransformECC', lambda *given: (1.0, homography))
    found = align(output, gt)
    assert not found.converged
    assert np.array_equal(found.output, output)
    assert psnr_realblur(output, gt) == pytest.approx(calculate_psnr(output, gt), abs=1e-6)
    assert np.isfinite(ssim_realblur(output, gt))


def test_both_metrics_share_one_alignment(monkeypatch):
    from basicsr.metrics import realblur

    calls = []
    original = realblur.align
    monkeypatch.setattr(realblur, 'align', lambda *images: calls.append(1) or original(*images))
    gt = (scene() * 255).astype(np.uint8)
    record = Record(output_uint8=blurred(gt), gt=gt)
    for name in ('psnr_realblur', 'ssim_realblur', 'psnr_realblur'):
        build_metric({'type': name})(record)
    assert len(calls) == 1


def test_gray_images_are_aligned_too():
    gt = scene()[..., :1]
    assert psnr_realblur(blurred(gt)[..., None], gt) == pytest.approx(
        calculate_psnr(blurred(gt)[..., None], gt), abs=0.05
    )


def test_bad_input_is_named():
    gt = scene()
    with pytest.raises(MetricError, match=r'first image .*\[0, 1\].* 255'):
        psnr_realblur((gt * 255).astype(np.uint8), gt)
    with pytest.raises(MetricError, match=r'second image .* in \[0, 1\]'):
        psnr_realblur(gt, gt * 255)
    with pytest.raises(MetricError, match=r'3 channels.* 2'):
        align(gt[..., :2], gt[..., :2])
    with pytest.raises(MetricError, match='NaN'):
        align(gt * np.float32(np.nan), gt)
    with pytest.raises(MetricError, match=r'11 pixels.* 9 x 9'):
        ssim_realblur(gt[:9, :9], gt[:9, :9])
