"""How a step's samples are shared: over processes, and over batches that fit on a device."""

from __future__ import annotations

from dataclasses import dataclass

from basicsr.utils.errors import OptionError


@dataclass(frozen=True)
class Batching:
    """The samples of one step.

    Args:
        total: of all processes together.
        world: processes.
        at_once: of one process in one forward pass.
        published: total of the recipe that the option file follows; None if it follows none.
    """

    total: int
    world: int
    at_once: int
    published: int | None = None

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
        if self.published is not None and self.total != self.published:
            text += f'; the published recipe that this follows has {self.published}'
        return text


def share_batch(total: int | None, at_most: int, world: int, published: int | None = None) -> Batching:
    """Share the samples of a step evenly.

    Args:
        total: samples of all processes together; None is ``at_most`` for each process.
        at_most: samples of one process that fit at once.
        world: processes.
        published: samples in a step of the recipe that is followed, if one is.

    Raises:
        OptionError: the total is no multiple of the number of processes.
    """
    if total is None:
        return Batching(at_most * world, world, at_most, published)
    if total % world:
        fitting = [str(number) for number in range(1, total + 1) if total % number == 0]
        raise OptionError(
            f'train.total_batch_size: {total} samples cannot be shared evenly by {world} processes; '
            f'start {", ".join(fitting)} processes, or change it to {-(-total // world) * world}'
        )
    share = total // world
    at_once = max(size for size in range(1, min(at_most, share) + 1) if share % size == 0)
    return Batching(total, world, at_once, published)
