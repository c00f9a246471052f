"""Log the numbers of training steps without waiting for a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basicsr.training.distributed import Processes
from basicsr.training.loggers import RunLog, Timer

if TYPE_CHECKING:
    from basicsr.models.step_result import StepResult


class StepLines:
    """Writes a line of the log for every few steps.

    On a GPU, a line is written when the next step is on its way, because reading the numbers of a step waits until it
    is done. All processes must call the methods after the same steps: lines contain means over the processes.

    Args:
        log: of the first process; None in the others.
        processes: this process among those of the job.
        every: write a line after this number of steps, and one after the first step.
    """

    def __init__(self, log: RunLog | None, processes: Processes, every: int) -> None:
        self._log, self._processes, self._every = log, processes, every
        self._waiting: tuple[int, int, StepResult, tuple[float, float]] | None = None

    def step_is_done(self, iteration: int, epoch: int, result: StepResult, timer: Timer) -> None:
        """Write the line of the step before, if it waits; remember this step if it needs a line.

        Args:
            iteration: 1-based.
            epoch: number of the epoch.
            result: of the step.
            timer: of all steps.
        """
        self.write()
        if iteration % self._every == 0 or iteration == 1:
            self._waiting = iteration, epoch, result, timer.means()
            if self._processes.device.type == 'cpu':
                self.write()

    def write(self) -> None:
        """Write the line that waits, if any."""
        if self._waiting is None:
            return
        iteration, epoch, result, times = self._waiting
        self._waiting = None
        means = self._processes.mean(result.losses)
        if self._log is not None:
            self._log.step(iteration, epoch, means, result.lr, result.grad_norm, *times)
