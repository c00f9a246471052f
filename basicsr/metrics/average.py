"""The mean of scores over images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Average:
    """A mean over images, stored as sum and count.

    Args:
        sum: correctly rounded sum, independent of the order of the images.
        count: number of images with a score.
        infinite: number of infinite scores among them (identical images); the mean is then infinite, too.
    """

    sum: float
    count: int
    infinite: int = 0

    @property
    def mean(self) -> float | None:
        """Mean over images; None without images."""
        return self.sum / self.count if self.count else None


def average(values: Iterable[float | None]) -> Average:
    """Return the average of scores, ignoring None.

    Example:
        >>> average([1e16, 1.0, None, -1e16]).sum
        1.0
    """
    present = [value for value in values if value is not None]
    infinite = [value for value in present if math.isinf(value)]
    total = math.fsum(present) if len(set(infinite)) < 2 else math.nan  # +inf and -inf have no sum
    return Average(total, len(present), len(infinite))
