import numpy as np
import pytest

from basicsr.deconvolution import deconvolve
from basicsr.utils.errors import ArgumentError, DataError, ShapeError
from tests.helpers.kernel_blur import blurred_scene, gain, path_kernel

KERNEL = path_kernel()


def test_a_known_kernel_sharpens_and_the_rotated_one_does_not():
    gt, lq = blurred_scene(120, 150, KERNEL)
    assert gain(deconvolve(lq, KERNEL), lq, gt) > 5
    assert gain(deconvolve(lq, KERNEL[::-1, ::-1]), lq, gt) < 2


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize('channels', [None, 1, 3])
def test_types_and_shapes_are_kept(dtype, channels):
    _, lq = blurred_scene(40, 50, KERNEL)
    image = lq if channels == 3 else lq.mean(2) if channels is None else lq.mean(2, keepdims=True)
    white = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    result = deconvolve((image * white).astype(dtype), KERNEL)
    assert result.dtype == dtype and result.shape == image.shape
    expected = deconvolve(image, KERNEL)
    assert np.abs(result / white - expected).max() < 0.1 and np.abs(result / white - expected).mean() < 0.01


def test_a_constant_image_stays_constant():
    for value in (0, 128, 255):
        image = np.full((30, 40, 3), value, np.uint8)
        assert np.array_equal(deconvolve(image, KERNEL), image)


def test_light_is_kept():
    _, lq = blurred_scene(160, 160, KERNEL)
    assert abs(deconvolve(lq, KERNEL).mean() - lq.mean()) < 0.002


def test_clipped_light_makes_no_rings():
    """Lamps of five times white in a dark scene: their kernel-shaped traces become small again."""
    margin, size = 30, 120
    light = np.full((size + 2 * margin,) * 2, 0.1, np.float32)
    for row, column in ((60, 60), (60, 100), (95, 75), (120, 110)):
        light[row : row + 6, column : column + 6] = 5
    spectrum = np.fft.rfft2(np.pad(KERNEL, ((0, len(light) - len(KERNEL)),) * 2))
    blurred = np.roll(np.fft.irfft2(np.fft.rfft2(light) * spectrum), (-(len(KERNEL) // 2),) * 2, (0, 1))
    lq = blurred.clip(0, 1)[margin:-margin, margin:-margin].astype(np.float32)
    gt = light.clip(0, 1)[margin:-margin, margin:-margin]
    result, dimmed = deconvolve(lq, KERNEL), deconvolve(lq * np.float32(0.99), KERNEL) / 0.99  # clipped, but not white
    assert gain(result, lq, gt, 20) > 1 > 0 > gain(dimmed, lq, gt, 20)


def test_what_does_not_fit():
    image = np.zeros((9, 20), np.uint8)
    with pytest.raises(ShapeError):
        deconvolve(image, np.ones((11, 11)))
    with pytest.raises(DataError):
        deconvolve(image, -np.ones((3, 3)))
    with pytest.raises(ArgumentError, match='weight'):
        deconvolve(image, np.ones((3, 3)), 0)
    with pytest.raises(ShapeError):
        deconvolve(np.zeros((4, 9, 20)), np.ones((3, 3)))
    assert deconvolve(np.full((1, 20), 7, np.uint8), np.ones((1, 1))).shape == (1, 20)
