"""Blur kernels: check them, read and save their files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from basicsr.images.arrays import Array, read_npy
from basicsr.images.files import imread, imwrite
from basicsr.utils.errors import DataError, ImageFileError, ShapeError
from basicsr.utils.files import whole_file

_LARGEST = 2001  # pixels of a side; the result is a square

Convention = Literal['convolution', 'correlation']
"""How a kernel maps a sharp image to a blurred one; the kernel of a correlation is that of a convolution, rotated by
180 degrees."""


def check_kernel(kernel: Array, size: tuple[int, int] | None = None) -> Array:
    """Return a kernel as (n, n) float32 with sum 1, n odd.

    Args:
        kernel: (h, w), not negative, h and w odd; the shorter side is padded with zeros.
        size: height and width of the image to deconvolve; None does not check it.

    Raises:
        ShapeError: a different number of dimensions, an even or empty side, or a kernel that is too large, or larger
            than the image.
        DataError: values that are negative or not finite, or only zeros.
    """
    values = np.asarray(kernel)
    if values.ndim != 2 or not all(side % 2 for side in values.shape):
        raise ShapeError(
            f'kernel: expected (h, w) with odd h and w, got {values.shape}; pad it with a row or column of 0'
        )
    if max(values.shape) > _LARGEST:
        raise ShapeError(f'kernel: {values.shape} is too large; sides of at most {_LARGEST} are supported')
    if size is not None and (values.shape[0] > size[0] or values.shape[1] > size[1]):
        raise ShapeError(f'kernel: {values.shape} is larger than the image {tuple(size)}')
    if values.dtype.kind not in 'fiub' or not np.isfinite(values).all() or values.min() < 0 or not values.max() > 0:
        raise DataError('kernel: expected finite values that are not negative, some of them above 0')
    values = values.astype(np.float64)
    side = max(values.shape)
    rows, columns = ((side - length) // 2 for length in values.shape)
    values = values / values.max()  # the sum of huge values is infinite
    return np.pad(values / values.sum(), ((rows, rows), (columns, columns))).astype(np.float32)


def resized_kernel(kernel: Array, factor: float) -> Array:
    """Return the kernel of an image that is scaled by a factor.

    Args:
        kernel: (n, n), n odd, not negative, sum 1.
        factor: above 0; 1 returns the kernel.

    Returns:
        (m, m) float32, m odd, not negative, sum 1, with the same centre.
    """
    if factor == 1:
        return kernel
    half = kernel.shape[0] // 2
    middle = int(np.ceil(half * factor))
    old, new = np.arange(-half, half + 1), np.arange(-middle, middle + 1)
    distance = new[:, None] - old * factor  # above 1, values are sampled; below, they are spread over their neighbours
    share = (1 - np.abs(distance) / max(factor, 1)).clip(0)
    share /= share.sum(0)  # no value counts more than another
    return check_kernel(share @ kernel @ share.T)


def read_kernel(path: Path, convention: Convention = 'convolution') -> Array:
    """Read a kernel from an array (``.npy``) or a gray image.

    Args:
        path: a ``.npy`` file or an image; the values of an image are relative.
        convention: how the kernel was measured; a correlation is rotated by 180 degrees.

    Returns:
        (n, n) float32, not negative, sum 1, n odd.

    Raises:
        DataError: the file is missing or damaged, or is no kernel; the message names it.
    """
    is_array = path.suffix.lower() == '.npy'
    values = read_npy(path, DataError, 'a blur kernel') if is_array else None
    try:
        values = check_kernel(imread(path, channels=1)[..., 0] if values is None else values)
    except (ImageFileError, ShapeError, DataError) as error:
        raise DataError(f'{path}: cannot be read as a blur kernel ({error})') from error
    return values[::-1, ::-1].copy() if convention == 'correlation' else values


def kernel_image(kernel: Array, zoom: int = 4) -> Array:
    """Return an image of a kernel, with its largest value white.

    Args:
        kernel: (h, w), not negative.
        zoom: pixels per value along both sides.

    Returns:
        (h · zoom, w · zoom) uint8.
    """
    shown = np.rint(kernel * (255 / max(float(kernel.max()), 1e-12))).astype(np.uint8)
    return shown.repeat(zoom, 0).repeat(zoom, 1)


def save_kernel(path: Path, kernel: Array) -> None:
    """Write a kernel as an array (``.npy``, float32) and as an image (``.png``, one pixel per value).

    Args:
        path: without extension.
        kernel: (h, w), not negative.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with whole_file(path.with_name(f'{path.name}.npy')) as file:
        np.save(file, kernel.astype(np.float32), allow_pickle=False)
    imwrite(path.with_name(f'{path.name}.png'), kernel_image(kernel, 1))
