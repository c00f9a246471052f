"""Blur that turns slowly over a wide photo: windows with kernels of their own, registered and blended."""

import itertools

import cv2
import numpy as np
import pytest
import torch

from basicsr.deconvolution.fourier import shifted
from basicsr.deconvolution.nonblind import deconvolved
from basicsr.deconvolution.photos import find_blur, with_kernels
from basicsr.deconvolution.planes import gray_of
from basicsr.deconvolution.registration import relative_shift
from basicsr.metrics.best_shift import calculate_psnr_best_shift
from tests.helpers.blur_kernels import kernel_of_path
from tests.helpers.kernel_blur import blurred_scene, path_kernel

HEIGHT, WIDTH, STRIPS, TURN = 380, 860, 25, np.radians(35)


def turned_kernel(angle: float) -> np.ndarray:
    steps = np.linspace(0, 0.9, 40)
    path = np.cumsum(np.stack([np.sin(steps + 0.4), np.cos(steps + 0.4)], 1) * 10 / 40, 0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return kernel_of_path((path - path.mean(0)) @ turn).astype(np.float32)


@pytest.fixture(scope='module')
def turning() -> tuple[np.ndarray, np.ndarray]:
    """Sharp and blurred photo (HEIGHT, WIDTH, 3) float32; the kernel turns by 35 degrees from left to right."""
    gt, _ = blurred_scene(HEIGHT, WIDTH, path_kernel(), seed=4)
    small = cv2.resize(gt[::2, ::2], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    gt = (0.5 * gt + 0.5 * small[::-1]).astype(np.float32)
    places = np.linspace(0, WIDTH - 1, STRIPS)
    blurred = np.zeros_like(gt)
    for place, angle in zip(places, np.linspace(0, TURN, STRIPS), strict=True):
        kernel = np.ascontiguousarray(turned_kernel(angle)[::-1, ::-1])
        share = np.clip(1 - np.abs(np.arange(WIDTH) - place) / (places[1] - places[0]), 0, None)
        blurred += share[:, None].astype(np.float32) * cv2.filter2D(gt, -1, kernel, borderType=cv2.BORDER_REFLECT)
    blurred += np.random.default_rng(0).normal(0, 0.004, blurred.shape).astype(np.float32)
    return gt, blurred.clip(0, 1)


@pytest.mark.slow
def test_neighbouring_windows_match_and_no_border_is_seen(turning):
    gt, lq = turning
    planes = torch.from_numpy(lq.transpose(2, 0, 1).copy())
    blur = find_blur(planes, force=True)
    assert blur.kind in ('uniform', 'varying') and len(blur.used) == len(blur.windows) >= 3
    gray = gray_of(planes)
    results = [shifted(deconvolved(each.window.of(gray)[None], each.kernel)[0], *each.shift) for each in blur.windows]
    for (one, first), (two, second) in itertools.pairwise(zip(blur.windows, results, strict=True)):
        common = one.window.common(two.window)
        rows, columns, match = relative_shift(
            *(common.inside(w.window).of(r) for w, r in ((one, first), (two, second)))
        )
        assert np.hypot(rows, columns) < 0.25 and match > 0.9
    result = with_kernels(planes, blur).clamp(0, 1).numpy().transpose(1, 2, 0)
    eight = [(image * 255).round().astype(np.uint8) for image in (lq, result, gt)]
    gains = [calculate_psnr_best_shift(image, eight[2], 6, 15) for image in eight[:2]]
    assert gains[1] > gains[0] + 1.5
    steps = np.abs(np.diff((result - gt).mean(2), axis=1))[20:-20].mean(0)  # a border would be a column of steps
    borders = [edge for each in blur.windows for edge in (each.window.left, each.window.left + each.window.width)]
    for border in (edge for edge in borders if 20 < edge < WIDTH - 20):
        near = steps[border - 3 : border + 3].mean()
        assert near < 1.5 * np.median(steps[max(border - 60, 0) : border + 60])
