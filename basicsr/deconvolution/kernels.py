"""Save blur kernels as arrays and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.utils.files import whole_file


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


def save_kernel(path: Path, kernel: Array, zoom: int = 4) -> None:
    """Write a kernel as an array (``.npy``, float32) and as an image (``.png``).

    Args:
        path: without extension.
        kernel: (h, w), not negative.
        zoom: see :func:`kernel_image`.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with whole_file(path.with_name(f'{path.name}.npy')) as file:
        np.save(file, kernel.astype(np.float32), allow_pickle=False)
    imwrite(path.with_name(f'{path.name}.png'), kernel_image(kernel, zoom))
