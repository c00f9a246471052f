"""How a step's samples are shared: over processes, and over batches that fit on a device."""

from __future__ import annotations

from dataclasses import dataclass

from basicsr.utils.errors import OptionError

PUBLISHED_TOTAL = 32  # samples in a step of the published recipe


@dataclass(frozen=True)
class Batching:
    """The samples of one step.

    Args:
        total: of all processes together.
        world: processes.
        at_once: of one process in one forward pass.
    """

    total: int
    world: int
    at_once: int

    @property
    def per_process(self) -> int:
        """Samples of one process in one step."""
        return self.total // self.world

    @property
    def accumulation(self) -> int:
        """Forward and backward passes of one process in one step."""
        return self.per_process // self.at_once

    def __str__(self) -> str:
        text = f'{self.total} samples in a step: {self.world} × {self.accumulation} × {self.at_once}'
        text += ' (processes × accumulated batches × samples)'
        if self.total != PUBLISHED_TOTAL:
            text += f'; the published recipe has {PUBLISHED_TOTAL}'
        return text


def share_batch(total: int | None, at_most: int, world: int) -> Batching:
    """Share the samples of a step evenly.

    Args:
        total: samples of all processes together; None is ``at_most`` for each process.
        at_most: samples of one process that fit at once.
        world: processes.

    Raises:
        OptionError: the total is no multiple of the number of processes.
    """
    if total is None:
        return Batching(at_most * world, world, at_most)
    if total % world:
        fitting = [str(number) for number in range(1, total + 1) if total % number == 0]
        raise OptionError(
            f'train.total_batch_size: {total} samples cannot be shared evenly by {world} processes; '
            f'start {", ".join(fitting)} processes, or change it to {-(-total // world) * world}'
        )
    share = total // world
    at_once = max(size for size in range(1, min(at_most, share) + 1) if share % size == 0)
    return Batching(total, world, at_once)
