"""The split of a step's samples into processes and accumulated batches."""

from __future__ import annotations

from dataclasses import dataclass

from basicsr.utils.errors import OptionError


@dataclass(frozen=True)
class Batching:
    """The samples of one step.

    Args:
        total: over all processes.
        world: number of processes.
        at_once: in one forward pass of one process.
        published: total of the published recipe that the option file follows; None without one.
    """

    total: int
    world: int
    at_once: int
    published: int | None = None

    @property
    def per_process(self) -> int:
        """Samples per process and step."""
        return self.total // self.world

    @property
    def accumulation(self) -> int:
        """Accumulated batches per process and step."""
        return self.per_process // self.at_once

    def __str__(self) -> str:
        text = f'{self.total} samples per step: {self.world} × {self.accumulation} × {self.at_once}'
        text += ' (processes × accumulated batches × samples)'
        if self.published is not None and self.total != self.published:
            text += f'; the published recipe uses {self.published}'
        return text


def share_batch(
    total: int | None, at_most: int, world: int, published: int | None = None, key: str = 'train.total_batch_size'
) -> Batching:
    """Split the samples of a step evenly.

    Args:
        total: samples over all processes; None means ``at_most`` per process.
        at_most: samples in one forward pass of one process, at most.
        world: number of processes.
        published: samples per step of the published recipe, if any.
        key: of the total in the option file, for the message.

    Raises:
        OptionError: the total is not divisible by the number of processes.
    """
    if total is None:
        return Batching(at_most * world, world, at_most, published)
    if total % world:
        fitting = [str(number) for number in range(1, total + 1) if total % number == 0]
        raise OptionError(
            f'{key}: {total} samples cannot be split evenly over {world} processes; '
            f'start {", ".join(fitting)} processes, or change it to {-(-total // world) * world}'
        )
    share = total // world
    at_once = max(size for size in range(1, min(at_most, share) + 1) if share % size == 0)
    return Batching(total, world, at_once, published)
