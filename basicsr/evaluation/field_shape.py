"""The shape of an effective receptive field in numbers: profiles, a generalised normal density, central squares.

The definitions are this project's. The LaKDNet paper fits the same family of curves to its profiles, but publishes
neither the fit nor the formula of its ERFMeter, so ``erf_score`` is not that number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import ArgumentError

Floats = NDArray[np.float64]

SHARES = (0.2, 0.3, 0.5, 0.99)
"""Parts of the sum of a map that central squares must contain."""
END = 30.0
"""Positions of a profile are -30 to 30 for any image size, as in the figures of the paper."""
GOOD_FIT = 0.9
"""R² below this means that a profile is not of the family of the fit (windows, crosses)."""
_STARTS = (0.7, 1.0, 2.0, 5.0)
_LOWEST, _HIGHEST = (0.0, -END, 1e-3, 0.1), (np.inf, END, 2 * END, 20.0)


@dataclass(frozen=True)
class GeneralisedNormal:
    """The curve A · exp(-(|x - μ| / σ)^β): β = 2 is Gaussian, 1 Laplace, large β a box, small β a peak with long tails.

    Args:
        amplitude: A.
        mu: centre, in positions of :func:`positions`.
        sigma: scale.
        beta: exponent.
        r2: 1 - SSE / SST of the fit.
    """

    amplitude: float
    mu: float
    sigma: float
    beta: float
    r2: float

    @property
    def erf_score(self) -> float:
        """-ln(σ · β): higher for a narrow peak with long tails. Ours; not the ERFMeter of the paper."""
        return -math.log(self.sigma * self.beta)

    def __call__(self, position: Floats) -> Floats:
        """Return the curve at some positions."""
        return np.asarray(self.amplitude * np.exp(-((np.abs(position - self.mu) / self.sigma) ** self.beta)))


@dataclass(frozen=True)
class CentralSquare:
    """The smallest square around the centre that contains a share of a map; it needs no fit.

    Args:
        share: of the sum.
        side: odd, in pixels; the square may reach beyond the image.
        area: of its part inside the image, relative to the image.
    """

    share: float
    side: int
    area: float


def positions(length: int) -> Floats:
    """Return the positions of the pixels of a profile, -30 to 30."""
    return np.linspace(-END, END, length)


def profile(field: Floats, axis: int = 0) -> Floats:
    """Return the central row (axis 0) or column (axis 1) of a map (H, W), divided by its sum.

    Raises:
        ArgumentError: it is zero.
    """
    line = np.asarray(np.take(field, field.shape[axis] // 2, axis), np.float64)
    if not line.sum() > 0:
        raise ArgumentError(f'the central {("row", "column")[axis]} of a receptive field is zero')
    return np.asarray(line / line.sum())


def fit_generalised_normal(values: Floats) -> GeneralisedNormal:
    """Fit a generalised normal curve to a profile by least squares, and keep the best of several starts.

    Args:
        values: at least four, of :func:`profile`.

    Raises:
        ArgumentError: fewer values, values that are not finite, or a constant profile.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 4 or not np.isfinite(values).all() or np.ptp(values) == 0:
        raise ArgumentError(
            f'a profile needs at least four finite values that differ, got {values.shape} from '
            f'{values.min(initial=np.inf):g} to {values.max(initial=-np.inf):g}'
        )
    place, top = positions(len(values)), float(np.abs(values).max())
    total = float(np.square(values - values.mean()).sum())
    best: GeneralisedNormal | None = None
    for beta in _STARTS:
        start = max(values.max() / top, 1e-6), place[int(values.argmax())], 3.0, beta
        try:
            found, _ = curve_fit(
                _curve, place, values / top, start, bounds=(_LOWEST, _HIGHEST),
                ftol=1e-12, xtol=1e-12, gtol=1e-12, max_nfev=4000,
            )  # fmt: skip
        except (RuntimeError, OptimizeWarning):  # no convergence from this start
            continue
        amplitude, mu, sigma, exponent = map(float, found)
        error = float(np.square(_curve(place, amplitude * top, mu, sigma, exponent) - values).sum())
        curve = GeneralisedNormal(amplitude * top, mu, sigma, exponent, 1 - error / total)
        if best is None or curve.r2 > best.r2:
            best = curve
    if best is None:
        raise ArgumentError('no generalised normal curve fits the profile of the receptive field')
    return best


def central_squares(field: Floats, shares: Sequence[float] = SHARES) -> list[CentralSquare]:
    """Return the smallest central square for each share of the sum of a map (H, W); the centre is (H // 2, W // 2)."""
    height, width = field.shape
    rows, columns = np.abs(np.arange(height) - height // 2), np.abs(np.arange(width) - width // 2)
    ring = np.maximum(rows[:, None], columns[None]).ravel()
    sums, areas = np.cumsum(np.bincount(ring, field.ravel())), np.cumsum(np.bincount(ring))
    found = []
    for share in shares:
        radius = min(int(np.searchsorted(sums, share * sums[-1])), len(sums) - 1)
        found.append(CentralSquare(share, 2 * radius + 1, float(areas[radius] / field.size)))
    return found


def _curve(x: Floats, amplitude: float, mu: float, sigma: float, beta: float) -> Floats:
    return np.asarray(amplitude * np.exp(-((np.abs(x - mu) / sigma) ** beta)))
