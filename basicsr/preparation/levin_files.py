"""Unpack the files of Levin et al. (CVPR 2009): both images and the blur kernel are in one ``.mat`` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from basicsr.deconvolution.kernels import check_kernel
from basicsr.images.arrays import Array
from basicsr.images.files import image_size
from basicsr.preparation.output_files import save_png, writing
from basicsr.utils.errors import DataError, ImageFileError
from basicsr.utils.files import whole_file

SUFFIX, KERNELS = '.mat', 'kernels'


def unpack(path: Path, folder: Path, stem: str, again: bool = False) -> tuple[bool, tuple[int, int]]:
    """Write ``input/<stem>.png``, ``target/<stem>.png`` and ``kernels/<stem>.npy``.

    The images become 8-bit gray files. The authors' kernel is that of a correlation; it is rotated by 180 degrees, so
    that the blurred image is the convolution of the sharp image with it, up to a shift.

    Args:
        path: of the ``.mat`` file, with the arrays x (sharp), y (blurred) and f (kernel).
        folder: of the part.
        stem: new name, without extension.
        again: write them even if they exist.

    Returns:
        whether anything was written, and (H, W).

    Raises:
        ImageFileError: not such a file; the message names it.
        DataError: the images differ in size, or f is no kernel.
    """
    files = folder / 'input' / f'{stem}.png', folder / 'target' / f'{stem}.png', folder / KERNELS / f'{stem}.npy'
    size = image_size(files[0]) if files[0].is_file() else None
    if not again and size is not None and all(file.is_file() for file in files):
        return False, size
    lq, gt, kernel = read_levin(path)
    for file, image in zip(files, (lq, gt), strict=False):
        save_png(file, image)
    with writing(files[2]), whole_file(files[2]) as stream:
        np.save(stream, kernel, allow_pickle=False)
    return True, (lq.shape[0], lq.shape[1])


def read_levin(path: Path) -> tuple[Array, Array, Array]:
    """Read blurred and sharp image, (H, W) uint8, and kernel, (n, n) float32 of a convolution.

    Raises:
        ImageFileError, DataError: see :func:`unpack`.
    """
    from scipy.io import loadmat  # slow to import

    try:
        arrays = loadmat(path, variable_names=('x', 'y', 'f'), chars_as_strings=False)
        found = [np.asarray(arrays[name], np.float64) for name in ('y', 'x', 'f')]
    except KeyError as error:
        raise ImageFileError(f'{path}: has no array {error}; expected x, y and f, as in the files of Levin') from error
    except Exception as error:  # scipy raises errors of many types
        raise ImageFileError(f'{path}: cannot be read as a .mat file ({error})') from error
    lq, gt, kernel = found
    if lq.ndim != 2 or lq.shape != gt.shape:
        raise DataError(f'{path}: y has shape {lq.shape} and x {gt.shape}; expected two gray images of one size')
    try:
        checked = check_kernel(kernel)
    except ValueError as error:  # ShapeError and DataError are ValueErrors
        raise DataError(f'{path}: f: {error}') from error
    return _rounded(lq), _rounded(gt), checked[::-1, ::-1].copy()


def _rounded(values: Array) -> Array:
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), np.uint8)
