import numpy as np
import pytest
import torch
from scipy import ndimage

from basicsr.deconvolution.fourier import blurred, difference_power, divergence, gradient, periodic, shifted, transfer
from basicsr.deconvolution.nonblind import EXPONENT, shrunk
from tests.helpers.kernel_blur import path_kernel

pytestmark = pytest.mark.numeric


def test_blur_is_a_true_convolution():
    rng = np.random.default_rng(0)
    planes, kernel = rng.random((2, 40, 50)), rng.random((5, 5))
    kernel /= kernel.sum()
    result = blurred(torch.from_numpy(planes), torch.from_numpy(kernel))
    expected = np.stack([ndimage.convolve(plane, kernel) for plane in planes])
    np.testing.assert_allclose(result.numpy()[:, 3:-3, 3:-3], expected[:, 3:-3, 3:-3], atol=1e-12)


def test_divergence_is_the_transpose_of_the_gradient():
    x, across, down = torch.randn(3, 12, 15, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = gradient(x)
    torch.testing.assert_close((first * across + second * down).sum(), (x * divergence(across, down)).sum())
    spectrum = torch.fft.rfft2(divergence(*gradient(x))) / torch.fft.rfft2(x)
    torch.testing.assert_close(spectrum.real, difference_power(x.shape, x.device).double(), atol=1e-5, rtol=1e-5)


def test_the_extension_continues_the_image_on_both_sides():
    rows = torch.linspace(0, 1, 64)[:, None].expand(64, 48)
    extended = periodic(rows, 20)
    assert extended.shape[0] >= 84 and extended.shape[1] >= 68
    torch.testing.assert_close(extended[:64, :48], rows)
    jumps = (extended.roll(-1, 0) - extended).abs()
    assert float(jumps.max()) < 0.12


@pytest.mark.parametrize('move', [(0.0, 0.0), (1.0, -2.0), (0.5, 0.25), (-1.4, 2.3)])
def test_shifts_of_a_smooth_image(move):
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(70.0), indexing='ij')
    image = lambda down, right: torch.sin((rows - down) / 5) * torch.cos((columns - right) / 6)  # noqa: E731
    result = shifted(image(0, 0), *move)
    torch.testing.assert_close(result[12:-12, 12:-12], image(*move)[12:-12, 12:-12], atol=2e-3, rtol=0)


def test_the_middle_of_a_kernel_is_the_origin():
    spectrum = transfer(torch.from_numpy(path_kernel()), (64, 64))
    assert spectrum[0, 0].real == pytest.approx(1, abs=1e-6)
    delta = torch.zeros(5, 5)
    delta[2, 2] = 1
    torch.testing.assert_close(transfer(delta, (16, 16)), torch.ones(16, 9, dtype=torch.complex64))


@pytest.mark.parametrize('beta', [1.0, 8.0, 200.0])
def test_shrinkage_minimises_its_objective(beta):
    values = torch.linspace(-1.5, 1.5, 61)
    trials = torch.linspace(-2, 2, 40001)
    cost = trials.abs() ** EXPONENT + beta / 2 * (trials[None] - values[:, None]) ** 2
    found = shrunk(values, beta)
    reached = found.abs() ** EXPONENT + beta / 2 * (found - values) ** 2
    torch.testing.assert_close(reached, cost.amin(1), atol=2e-3, rtol=1e-3)
