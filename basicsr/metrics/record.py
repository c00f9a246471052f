"""What the evaluation knows about one image, handed to every metric."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from basicsr.metrics.arrays import Array, require_finite
from basicsr.utils.errors import MetricError

T = TypeVar('T')


@dataclass(frozen=True, eq=False)
class Record:
    """One image of an evaluation; all arrays are (H, W, C) in RGB order.

    Args:
        output: float32, what the network returned, before rounding and not clamped, nominally in [0, 1].
        output_uint8: the same as a saved file holds it, rounded: uint8, or uint16 for 16-bit data.
        gt: ground truth, integers as read from the file.
        lq: blurred input, integers as read from the file; further channels (the mask of the CAT method) may follow.

    Example:
        >>> import numpy as np
        >>> black = np.zeros((4, 4, 3), np.uint8)
        >>> Record(output_uint8=black, gt=black).require('mcr', ('gt', 'lq'))
        Traceback (most recent call last):
        basicsr.utils.errors.MetricError: mcr reads 'lq', which this record lacks
    """

    output: Array | None = None
    output_uint8: Array | None = None
    gt: Array | None = None
    lq: Array | None = None
    _cache: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ('output', 'output_uint8', 'gt', 'lq'):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, np.ndarray) and value.ndim == 3):
                what = getattr(value, 'shape', type(value).__name__)
                raise MetricError(f"a record's {name} is an array (H, W, C), got {what}; see tensor2img")

    def require(self, metric: str, fields: tuple[str, ...]) -> None:
        """Check that the fields are there and that the network's output is made of finite numbers.

        Rounding to integers hides NaN, hence the float output is looked at whichever field a metric reads.

        Args:
            metric: who asks, for the message.
            fields: names of fields.

        Raises:
            MetricError: a field is missing, or the output holds NaN or infinity.
        """
        for name in fields:
            if getattr(self, name) is None:
                raise MetricError(f"{metric} reads '{name}', which this record lacks")
        if self.output is not None:
            output = self.output
            self.cached('output is finite', lambda: require_finite(output, "the record's output"))

    def array(self, name: str) -> Array:
        """A field that must be there.

        Args:
            name: 'output', 'output_uint8', 'gt' or 'lq'.

        Raises:
            MetricError: the field is missing.
        """
        value: Array | None = getattr(self, name)
        if value is None:
            raise MetricError(f"a metric reads '{name}', which this record lacks")
        return value

    def cached(self, key: Hashable, function: Callable[[], T]) -> T:
        """The result of ``function()``, computed once for this record, so that two metrics may share it.

        Args:
            key: names the result.
            function: called without arguments the first time.
        """
        if key not in self._cache:
            self._cache[key] = function()
        result: T = self._cache[key]
        return result
