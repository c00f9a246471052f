"""The input of metrics: one restored image with its blurred input and ground truth."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import require_finite
from basicsr.utils.errors import MetricError

T = TypeVar('T')


@dataclass(frozen=True, eq=False)
class Record:
    """One restored image; images are (H, W, C), RGB.

    Args:
        output: float32, the network's output before rounding, nominally in [0, 1], not clamped.
        output_uint8: the rounded output, as saved in a file: uint8, or uint16 for 16-bit data.
        gt: ground truth, integers as in the file.
        lq: blurred input, integers as in the file; may have further channels (the mask of the CAT method).
        kernel: (h, w) float32, the estimated blur kernel; None if the network finds none.
        true_kernel: (h, w) float32, the true blur kernel; None if it is unknown.
        finite: whether the output before rounding is free of NaN and infinity; for records without ``output``.
        device: where costly metrics are computed, such as SSIM and LPIPS: 'cpu', or a GPU that is faster.

    Example:
        >>> import numpy as np
        >>> black = np.zeros((4, 4, 3), np.uint8)
        >>> Record(output_uint8=black, gt=black).require('mcr', ('gt', 'lq'))
        Traceback (most recent call last):
        basicsr.utils.errors.MetricError: mcr reads 'lq', which is missing in this record
    """

    output: Array | None = None
    output_uint8: Array | None = None
    gt: Array | None = None
    lq: Array | None = None
    kernel: Array | None = None
    true_kernel: Array | None = None
    finite: bool = True
    device: str = 'cpu'
    _cache: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ('output', 'output_uint8', 'gt', 'lq'):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, np.ndarray) and value.ndim == 3):
                what = getattr(value, 'shape', type(value).__name__)
                raise MetricError(f"a record's {name} is an array (H, W, C), got {what}; see tensor2img")

    def require(self, metric: str, fields: tuple[str, ...]) -> None:
        """Check that the record has certain fields and that the network's output is finite.

        Rounding to integers hides NaN, so the float output is always checked, whatever a metric reads.

        Args:
            metric: name for the error message.
            fields: names of fields.

        Raises:
            MetricError: a field is missing, or the output contains NaN or infinity.
        """
        for name in fields:
            self.array(name, metric)
        if not self.finite:
            raise MetricError("the record's output contains NaN or infinite values; has the network diverged?")
        if self.output is not None:
            output = self.output
            self.cached('output is finite', lambda: require_finite(output, "the record's output"))

    def array(self, name: str, metric: str = 'a metric') -> Array:
        """Return a required field.

        Args:
            name: 'output', 'output_uint8', 'gt', 'lq', 'kernel' or 'true_kernel'.
            metric: name for the error message.

        Raises:
            MetricError: the field is missing.
        """
        value: Array | None = getattr(self, name)
        if value is None:
            raise MetricError(f"{metric} reads '{name}', which is missing in this record")
        return value

    def cached(self, key: Hashable, function: Callable[[], T]) -> T:
        """Return the result of ``function()``, computed once per record and shared by metrics.

        Args:
            key: of the cached result.
            function: called without arguments, only the first time.
        """
        if key not in self._cache:
            self._cache[key] = function()
        return cast(T, self._cache[key])
