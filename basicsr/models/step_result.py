"""The outcome of a training step, whose numbers may still be on their way from the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class StepResult:
    """The outcome of one training step.

    Reading ``losses``, ``grad_norm`` or ``problem`` waits until the device has finished the step; one step later, it
    has, or is about to.

    Args:
        names: of the losses.
        values: numbers on the device: the losses, then the norm of the gradient, then others.
        lr: learning rate of the first parameter group.
        explain: called once with all numbers, returns why the step was skipped.

    Attributes:
        lr: learning rate of the first parameter group.
    """

    def __init__(
        self, names: Sequence[str], values: Tensor, lr: float, explain: Callable[[list[float]], str | None]
    ) -> None:
        self.lr = lr
        self._names, self._explain = list(names), explain
        self._problem: str | None = None
        self._numbers: list[float] | None = None
        self._copied: torch.cuda.Event | None = None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values.detach(), non_blocking=True)
            self._copied = torch.cuda.Event()
            self._copied.record()
        else:
            self._values = values.detach()

    def settle(self) -> None:
        """Wait for the numbers, and find out whether the step was skipped; further calls do nothing."""
        if self._numbers is None:
            if self._copied is not None:
                self._copied.synchronize()
            values = self._values if self._values.device.type == 'cpu' else self._values.cpu()
            self._numbers = values.numpy().tolist()
            self._problem = self._explain(self._numbers)

    @property
    def losses(self) -> dict[str, float]:
        """Losses of this process by name, means over the accumulated batches."""
        self.settle()
        return dict(zip(self._names, self._numbers or (), strict=False))

    @property
    def grad_norm(self) -> float:
        """Global norm of the gradient before clipping."""
        self.settle()
        return (self._numbers or [])[len(self._names)]

    @property
    def problem(self) -> str | None:
        """Why the optimizer step was skipped, with the images of all processes; None if it was not."""
        self.settle()
        return self._problem
