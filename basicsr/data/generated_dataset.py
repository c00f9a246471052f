"""Base class of the data sets that generate their samples, and the types of their arguments."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Gt
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from torch.utils.data import Dataset


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise PydanticCustomError('range', 'the first number must not exceed the second')
    return limits


Above0 = Annotated[float, Gt(0)]
AtLeast0 = Annotated[float, Ge(0)]
Ascending = AfterValidator(_ascending)
"""Marks a pair of numbers, the smallest and the largest of a range."""
Range = Annotated[tuple[AtLeast0, AtLeast0], Ascending]
RangeAbove0 = Annotated[tuple[Above0, Above0], Ascending]


class GeneratedDataset(Dataset[dict[str, Any]]):
    """Samples that are made on demand; ``dataset[i]`` depends on the seed, the epoch and i alone.

    Args:
        length: number of samples in one epoch.
        seed: seed of all random numbers.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # running workers see it change

    @property
    def epoch(self) -> int:
        """Return the number of the epoch."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the next samples; running workers see the change."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return self.length

    def generator_of(self, index: int, *stream: int) -> np.random.Generator:
        """Return the random numbers of a sample.

        Raises:
            IndexError: ``index`` is not 0 to ``len(self) - 1``.
        """
        if not 0 <= index < self.length:
            raise IndexError(f'sample {index} of {self.length}')
        return np.random.default_rng([self.seed, self.epoch, index, *stream])
