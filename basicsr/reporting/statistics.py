"""Statistics of paired differences: intervals, tests, corrections for several comparisons, means over seeds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import ReportError

Method: TypeAlias = Literal['bca', 'percentile']

_EXACT = 16  # values of which all signs are tried
_CHUNK = 4_000_000  # random draws held at once, 32 MB


def bootstrap_interval(
    values: NDArray[Any] | Sequence[float],
    confidence: float = 0.95,
    method: Method = 'bca',
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a bootstrap confidence interval of the mean.

    Args:
        values: one finite number per image (the differences, for a paired comparison).
        confidence: between 0 and 1.
        method: 'bca' or 'percentile'; if all values are equal, both ends are the mean.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        lower and upper end.

    Raises:
        ReportError: no values, values that are not finite, or invalid arguments.
    """
    values = np.asarray(values, np.float64)
    if not values.size or not np.isfinite(values).all():
        raise ReportError(f'a confidence interval needs finite numbers, got {values.size} values')
    if not 0 < confidence < 1 or resamples < 1 or method not in ('bca', 'percentile'):
        raise ReportError(f"confidence {confidence} (0 to 1), resamples {resamples}, method '{method}': invalid")
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    import scipy.stats  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # degenerate data give NaN, see below
        found = scipy.stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, _CHUNK // len(values)),
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    if math.isnan(found.low) and method == 'bca':  # all resampled means are on one side of the mean
        return bootstrap_interval(values, confidence, 'percentile', resamples, seed)
    return float(found.low), float(found.high)


def sign_flip_p_value(values: NDArray[Any] | Sequence[float], resamples: int = 100_000, seed: int = 0) -> float:
    """Test whether paired differences are symmetric about zero (Fisher's randomisation test), two-sided.

    The p-value is the share of all assignments of signs whose mean is at least as far from zero as the one seen. Up to
    16 values, all assignments are counted; beyond, random ones, and the one seen (Phipson and Smyth 2010).

    Args:
        values: one finite difference per independent unit, such as a scene.
        resamples: number of random assignments.
        seed: of the assignments.

    Raises:
        ReportError: no values, or values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if not values.size or not np.isfinite(values).all() or resamples < 1:
        raise ReportError(f'a test needs finite numbers and resamples ≥ 1, got {values.size} values')
    count = len(values)
    seen = abs(values.sum()) * (1 - 1e-12)  # sums in another order differ by rounding
    if count <= _EXACT:
        signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
        return float((np.abs(signs @ values) >= seen).mean())
    rng, found, left = np.random.default_rng(seed), 0, resamples
    while left:
        part = min(left, max(1, _CHUNK // count))
        signs = 1 - 2 * rng.integers(0, 2, (part, count), np.int8)
        found += int((np.abs(signs @ values) >= seen).sum())
        left -= part
    return (found + 1) / (resamples + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p-values of a family of tests (Holm, Scandinavian Journal of Statistics 6, 1979).

    The k-th smallest of m is multiplied by m - k + 1; adjusted values never fall below those of smaller ones, nor
    exceed 1. Comparing them with 5 % keeps the probability of any false finding in the family at 5 %.

    Args:
        p_values: of each test by name.

    Returns:
        adjusted p-values by name, in the same order.

    Raises:
        ReportError: a value is not between 0 and 1.
    """
    wrong = {name: p for name, p in p_values.items() if not 0 <= p <= 1}
    if wrong:
        raise ReportError(f'p-values are between 0 and 1, got {wrong}')
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


@dataclass(frozen=True)
class Estimate:
    """A mean difference over scenes, of several seeds.

    Args:
        mean: over scenes, of means over seeds.
        low: lower end of the confidence interval, from a bootstrap over scenes; NaN of one scene.
        high: upper end.
        p_value: of the sign-flip test over scenes; NaN if there is no test.
        scenes: number of scenes.
        by_seed: mean over scenes of each seed.
    """

    mean: float
    low: float
    high: float
    p_value: float
    scenes: int
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Return the standard deviation over seeds; NaN of fewer than two."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else math.nan


def scene_estimate(
    differences: NDArray[Any] | Sequence[Sequence[float]],
    confidence: float = 0.95,
    method: Method = 'bca',
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Estimate a mean difference and its interval for new scenes.

    Images of one scene resemble each other, so a scene counts once, with the mean of its images. The interval is that
    of the means over seeds, for other scenes and the same trainings; how much trainings differ is the spread. Intervals
    of few scenes are too narrow.

    Args:
        differences: (seeds, scenes).
        confidence: of the interval.
        method: of the interval, see :func:`bootstrap_interval`.
        resamples: of the bootstrap; the test has ten times as many.
        seed: of the bootstrap and the test.

    Raises:
        ReportError: not (seeds, scenes) of finite numbers.
    """
    table = np.asarray(differences, np.float64)
    if table.ndim != 2 or not table.size:
        raise ReportError(f'differences must be (seeds, scenes), got {table.shape}')
    scenes = table.mean(0)
    low, high = bootstrap_interval(scenes, confidence, method, resamples, seed)
    if len(scenes) == 1:  # says nothing about other scenes
        low = high = math.nan
    p_value = sign_flip_p_value(scenes, 10 * resamples, seed)
    return Estimate(float(scenes.mean()), low, high, p_value, len(scenes), tuple(table.mean(1).tolist()))
