"""Blur kernels of paths, to compare a blur of displaced copies with a convolution."""

from __future__ import annotations

import numpy as np

from basicsr.data.motion import Floats


def kernel_of_path(path: Floats, weights: Floats | None = None) -> Floats:
    """The blur kernel of a path: the whole image convolved with it is the mean of its displaced copies.

    Args:
        path: displacements (T, 2).
        weights: (T,), sum 1; equal if None.

    Returns:
        (2·R + 1, 2·R + 1), sum 1; each displacement is spread over its four pixels as bilinear interpolation does.
    """
    weights = np.full(len(path), 1 / len(path)) if weights is None else weights
    radius = int(np.ceil(np.abs(path).max(initial=0))) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    corner = np.floor(path).astype(int)
    part = path - corner
    for down in (0, 1):
        for right in (0, 1):
            share = np.abs(1 - down - part[:, 0]) * np.abs(1 - right - part[:, 1])
            np.add.at(kernel, (corner[:, 0] + down + radius, corner[:, 1] + right + radius), weights * share)
    return kernel
