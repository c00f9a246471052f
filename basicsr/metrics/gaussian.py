"""The Gaussian window of SSIM, and its filter along the channel axis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def gaussian_taps(size: int = 11, sigma: float = 1.5) -> npt.NDArray[np.float64]:
    """Return a sampled Gaussian, normalized to sum 1 (Wang et al. 2004, section III.C: 11 taps, sigma 1.5).

    Args:
        size: number of taps, odd.
        sigma: standard deviation in pixels.

    Returns:
        float64 (size,), symmetric.

    Example:
        >>> gaussian_taps().round(6)[:6].tolist()
        [0.001028, 0.007599, 0.036001, 0.109361, 0.213006, 0.266012]
    """
    distance = np.arange(size) - size // 2
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def channel_mixing_matrix(channels: int, taps: npt.NDArray[np.float64] | None = None) -> npt.NDArray[np.float64]:
    """Return the filter along the channel axis with replicated borders as a matrix.

    The window is longer than the number of channels, so most taps fall on the replicated first or last channel, and the
    filter is a small dense matrix. It is symmetric under reversal: RGB and BGR have the same score.

    Args:
        channels: number of channels, at least 1.
        taps: window of odd length; ``gaussian_taps()`` if None.

    Returns:
        float64 (channels, channels); row = output channel, each row sums to 1.

    Example:
        >>> channel_mixing_matrix(3).round(4)[0].tolist()
        [0.633, 0.213, 0.154]
    """
    taps = gaussian_taps() if taps is None else taps
    matrix = np.zeros((channels, channels))
    for row in range(channels):
        sources = np.clip(np.arange(len(taps)) - len(taps) // 2 + row, 0, channels - 1)
        np.add.at(matrix[row], sources, taps)
    return matrix
