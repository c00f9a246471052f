"""Shifts between overlapping windows that were deconvolved apart.

A blind kernel is known only up to a shift, so the results of neighbours may differ by a pixel or more.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch.nn.functional as F
from skimage.registration import phase_cross_correlation
from torch import Tensor

from basicsr.deconvolution.fourier import shifted
from basicsr.images.arrays import Array

FARTHEST = 6.0
"""Largest shift between neighbours that is believed, in pixels."""
ANCHOR = 0.2
"""Weight of a window's own position, which its centred kernel gives, against a perfect match with a neighbour."""
_STEPS, _ROUNDS, _TOLERANCE = 20, 12, 0.3
_BORDER = 8


def relative_shift(first: Tensor, second: Tensor) -> tuple[float, float, float]:
    """Return how far ``second`` must move down and right to match ``first``, and how well they match then.

    Args:
        first: (h, w) float.
        second: of the same shape.

    Returns:
        rows and columns in pixels, to 1/20; and the normalised cross-correlation, 0 without a believable match.
    """
    if min(first.shape) < 4 * _BORDER:
        return 0.0, 0.0, 0.0
    one, two = _detail(first), _detail(second)
    taper = np.outer(np.hanning(one.shape[0]), np.hanning(one.shape[1]))
    if float(abs(one).max()) < 1e-6 or float(abs(two).max()) < 1e-6:
        return 0.0, 0.0, 0.0
    shift, *_ = phase_cross_correlation(one * taper, two * taper, upsample_factor=_STEPS, normalization=None)
    rows, columns = float(shift[0]), float(shift[1])
    if max(abs(rows), abs(columns)) > FARTHEST:
        return 0.0, 0.0, 0.0
    match = _correlation(one, _detail(shifted(second, rows, columns)))
    return rows, columns, max(match, 0.0)


def _detail(planes: Tensor) -> Array:
    """Return an image without its coarse parts and its border, as an array."""
    coarse = F.avg_pool2d(planes[None, None], 15, stride=1, padding=7, count_include_pad=False)[0, 0]
    return np.asarray((planes - coarse)[_BORDER:-_BORDER, _BORDER:-_BORDER].cpu().numpy())


def _correlation(one: Array, two: Array) -> float:
    return float((one * two).mean() / max(np.sqrt((one**2).mean() * (two**2).mean()), 1e-12))


def positions(number: int, pairs: Mapping[tuple[int, int], tuple[float, float, float]]) -> Array:
    """Return the shift of each window that makes all agree, by robust least squares.

    Minimises the distances between ``shift[j] - shift[i]`` and the measured ones, with weights that fall with the
    distance (so that one bad window moves no others), and the distance of each window from its own position.

    Args:
        number: of windows.
        pairs: by the indices (i, j) of two windows, the result of :func:`relative_shift` for i and j.

    Returns:
        (number, 2) rows and columns, in pixels.
    """
    shifts: Array = np.zeros((number, 2))
    if not pairs:
        return shifts
    ends = np.array(list(pairs))
    measured = np.array([value[:2] for value in pairs.values()])
    match = np.array([value[2] for value in pairs.values()]) ** 2
    for _ in range(_ROUNDS):
        errors = np.linalg.norm(shifts[ends[:, 1]] - shifts[ends[:, 0]] - measured, axis=1)
        weights = match / (1 + (errors / _TOLERANCE) ** 2)
        matrix, right = np.eye(number) * ANCHOR**2, np.zeros((number, 2))
        for (i, j), weight, shift in zip(ends, weights, measured, strict=True):
            matrix[[i, j], [i, j]] += weight
            matrix[[i, j], [j, i]] -= weight
            right[j] += weight * shift
            right[i] -= weight * shift
        shifts = np.linalg.solve(matrix, right)
    return shifts
