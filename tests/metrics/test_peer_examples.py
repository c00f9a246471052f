"""Values that scikit-image and torchmetrics publish for PSNR and SSIM, as our metrics compute them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data

from basicsr.metrics import Record, build_metric, calculate_psnr, calculate_ssim

pytestmark = pytest.mark.numeric


@pytest.fixture(scope='module')
def noisy_camera():
    """The photo of scikit-image's tests with noise of sigma 20, and the photo: (512, 512) uint8."""
    state = np.random.RandomState(5)  # the published values are those of this generator
    clean = data.camera()
    return np.clip(clean + 20.0 * state.randn(*clean.shape), 0, 255).astype(np.uint8), clean


def test_psnr_of_scikit_image(noisy_camera):
    """The value of the IPOL article "Image quality assessment" in tests/metrics/test_simple_metrics.py."""
    assert calculate_psnr(*noisy_camera, 0) == pytest.approx(22.409353363576034, abs=1e-4)


def test_ssim_of_scikit_image(noisy_camera):
    """The values of tests/metrics/test_structural_similarity.py, with its own tolerances."""
    noisy, clean = noisy_camera
    score = build_metric({'type': 'ssim_skimage'})(Record(output=noisy[..., None] / 255, gt=clean[..., None]))
    assert score.value == pytest.approx(0.3674518327910367, abs=1e-7)  # 7×7 windows of equal weights
    assert calculate_ssim(noisy, clean, 0, ssim3d=False) == pytest.approx(0.357959091663361, abs=1.5e-3)  # Gaussian


def test_psnr_of_torchmetrics():
    """The example of ``peak_signal_noise_ratio``, whose data range is 3."""
    preds, target = np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[3.0, 2.0], [1.0, 0.0]])
    assert calculate_psnr(preds / 3, target / 3, 0, data_range=1.0) == pytest.approx(2.5527, abs=5e-5)


@pytest.mark.parametrize('seed', [0, 1])
def test_ssim_of_torchmetrics(seed):
    """The example of ``structural_similarity_index_measure``: random images against 0.75 times them."""
    preds = torch.rand(3, 3, 256, 256, generator=torch.Generator().manual_seed(seed))
    values = [calculate_ssim(image, 0.75 * image, 0, ssim3d=False) for image in preds]
    assert np.mean(values) == pytest.approx(0.9219, abs=1e-3)  # its images have another seed
