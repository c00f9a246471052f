import io

import cv2
import numpy as np
import pytest

from basicsr.deconvolution import read_kernel, save_kernel
from basicsr.deconvolution.kernels import check_kernel, resized_kernel
from basicsr.utils.errors import DataError, ShapeError
from tests.helpers.kernel_blur import path_kernel


def test_arrays_and_images_are_read(tmp_path):
    kernel = path_kernel()
    save_kernel(tmp_path / 'k', kernel)
    np.testing.assert_allclose(read_kernel(tmp_path / 'k.npy'), kernel, atol=1e-7)
    np.testing.assert_allclose(read_kernel(tmp_path / 'k.png'), kernel, atol=kernel.max() / 255)
    np.testing.assert_allclose(read_kernel(tmp_path / 'k.npy', 'correlation'), kernel[::-1, ::-1], atol=1e-7)


@pytest.mark.parametrize('factor', [0.3, 0.5, 0.77, 1.6, 2.0])
def test_kernels_of_scaled_images(factor):
    kernel = path_kernel(13)
    scaled = resized_kernel(kernel, factor)
    assert scaled.dtype == np.float32 and scaled.shape[0] % 2 == 1 and scaled.sum() == pytest.approx(1, abs=1e-5)
    moments = []
    for each in (kernel, scaled):
        at = np.arange(each.shape[0]) - each.shape[0] // 2
        rows, columns = each.sum(1), each.sum(0)
        moments.append((rows @ at, columns @ at, rows @ at**2, columns @ at**2))
    own, other = moments
    np.testing.assert_allclose(other[:2], np.multiply(own[:2], factor), atol=0.05)
    np.testing.assert_allclose(other[2:], np.multiply(own[2:], factor**2), atol=0.7)
    assert resized_kernel(kernel, 1) is kernel


def test_huge_values_are_relative():
    np.testing.assert_allclose(check_kernel(np.full((3, 3), 1e308)), 1 / 9, atol=1e-7)


def test_the_shorter_side_is_padded_and_the_sum_is_one():
    kernel = check_kernel(np.full((3, 7), 2))
    assert kernel.shape == (7, 7) and kernel.dtype == np.float32
    np.testing.assert_allclose(kernel[2:5], 1 / 21)
    assert not kernel[:2].any() and not kernel[5:].any()


@pytest.mark.parametrize(
    ('kernel', 'error'),
    [
        (np.zeros((0, 0)), ShapeError),
        (np.ones((4, 5)), ShapeError),
        (np.ones((3, 3, 3)), ShapeError),
        (np.ones((11, 11)), ShapeError),  # larger than the image
        (np.zeros((3, 3)), DataError),
        (np.eye(3) - 0.1, DataError),
        (np.full((3, 3), np.nan), DataError),
        (np.array([['a']]), DataError),
        (np.ones((3, 3), complex), DataError),
    ],
)
def test_what_is_no_kernel(kernel, error):
    with pytest.raises(error, match='kernel'):
        check_kernel(kernel, (9, 20))


def claiming(*shape):
    """The header of a large array, and a few of its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {'descr': '<f4', 'fortran_order': False, 'shape': shape})
    return file.getvalue() + bytes(100)


@pytest.mark.parametrize(
    'write',
    [
        lambda path: None,
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(b'\x93NUMPY\x01\x00'),
        lambda path: np.save(path, np.array([{'a': 1}], object), allow_pickle=True),
        lambda path: np.save(path, np.ones((2, 2))),
        lambda path: np.save(path, -np.ones((3, 3))),
        lambda path: np.save(path, np.ones((1, 10_001))),
        lambda path: path.write_bytes(claiming(10**6 + 1, 10**6 + 1)),
        lambda path: np.savez(path.open('wb'), np.ones((3, 3))),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\0\x40\0{'descr': ('<f4', (".ljust(74) + bytes(36)),
    ],
)
def test_files_that_are_no_kernels_are_named(write, tmp_path):
    path = tmp_path / 'bad.npy'
    write(path)
    with pytest.raises(DataError, match=r'bad\.npy'):
        read_kernel(path)


def test_an_image_that_is_no_kernel_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / 'even.png'), np.full((4, 6), 9, np.uint8))
    (tmp_path / 'text.png').write_text('no image')
    for name in ('even.png', 'text.png'):
        with pytest.raises(DataError, match=name):
            read_kernel(tmp_path / name)
