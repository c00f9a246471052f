"""Order of the training samples: ours, the same for any number of workers and processes, and the original's."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Sampler

from basicsr.utils.errors import ArgumentError


class EpochSampler(Sampler[int]):
    """A random order that depends on (seed, epoch) alone, cut into global batches before it is dealt to processes.

    One process with batches of 4 gets the same samples per step as two processes with batches of 2. The last batch
    is filled up from the start of the order.

    Args:
        length: number of samples in the data set.
        batch_size: samples of one process in one step.
        world: number of processes.
        rank: number of this process.
        ratio: repeats of the data set per epoch.
        seed: of the order.
    """

    def __init__(
        self, length: int, batch_size: int = 1, world: int = 1, rank: int = 0, ratio: int = 1, seed: int = 0
    ) -> None:
        if min(length, ratio, batch_size) < 1 or not 0 <= rank < world:
            raise ArgumentError(
                f'expected length, ratio and batch_size of at least 1 and a rank below world, got length {length}, '
                f'ratio {ratio}, batch_size {batch_size}, rank {rank} of {world}'
            )
        self.length, self.batch_size, self.world, self.rank = length, batch_size, world, rank
        self.ratio, self.seed = ratio, seed
        self.epoch = self.consumed = 0

    @property
    def total(self) -> int:
        """Return the number of samples of all processes in one whole epoch."""
        together = self.batch_size * self.world
        return math.ceil(self.length * self.ratio / together) * together

    def set_epoch(self, epoch: int, consumed: int = 0) -> None:
        """Choose the order of the next pass.

        Args:
            epoch: number of the pass.
            consumed: samples of it, of all processes together, that are done already (to resume).

        Raises:
            ArgumentError: a negative number, or more samples than an epoch has.
        """
        if epoch < 0 or not 0 <= consumed <= self.total:
            raise ArgumentError(f'cannot resume at sample {consumed} of epoch {epoch}: an epoch has {self.total}')
        self.epoch, self.consumed = epoch, consumed

    def __iter__(self) -> Iterator[int]:
        state = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        order = torch.randperm(self.length * self.ratio, generator=generator).remainder(self.length).tolist()
        for start in range(self.consumed + self.rank * self.batch_size, self._end, self.batch_size * self.world):
            for place in range(start, start + self.batch_size):
                yield order[place % len(order)]

    def __len__(self) -> int:
        return (self._end - self.consumed) // self.world

    @property
    def _end(self) -> int:
        """Return the end of the order: the first whole global batch after which every sample was used."""
        together = self.batch_size * self.world
        left = self.length * self.ratio - self.consumed
        return self.consumed + max(0, math.ceil(left / together)) * together


class EnlargedSampler(EpochSampler):
    """The order of the original: every ``world``-th of a permutation that is seeded with the epoch.

    Args:
        length: number of samples in the data set.
        world: number of processes.
        rank: number of this process.
        ratio: repeats of the data set per epoch.
    """

    def __init__(self, length: int, world: int = 1, rank: int = 0, ratio: int = 1) -> None:
        super().__init__(length, 1, world, rank, ratio)

    def set_epoch(self, epoch: int, consumed: int = 0) -> None:
        """Choose the order of the next pass; arguments as in :meth:`EpochSampler.set_epoch`."""
        super().set_epoch(epoch, consumed)
        if consumed % self.world:
            raise ArgumentError(f'{consumed} samples done cannot be split evenly over {self.world} processes')

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.epoch)
        order = torch.randperm(self.total, generator=generator).remainder(self.length)
        return iter(order[self.consumed + self.rank :: self.world].tolist())
