"""Learning-rate schedules of the original option files, as schedulers of torch."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR as TorchCosineAnnealingLR
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import SCHEDULER_REGISTRY
from basicsr.utils.signature import NotNegative, Positive


@SCHEDULER_REGISTRY.register()
class CosineAnnealingLR(TorchCosineAnnealingLR):
    """torch's cosine schedule: eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2; it rises again after T_max.

    Args:
        optimizer: to schedule.
        T_max: number of steps from the initial learning rate to ``eta_min``.
        eta_min: minimum learning rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, T_max: Positive, eta_min: float = 0.0) -> None:
        super().__init__(optimizer, T_max, eta_min)


@SCHEDULER_REGISTRY.register()
class TrueCosineAnnealingLR(CosineAnnealingLR):
    """The cosine schedule under its name in the option files of NAFNet and SAM-Deblur.

    Args:
        optimizer: to schedule.
        T_max: number of steps from the initial learning rate to ``eta_min``.
        eta_min: minimum learning rate.
    """


@SCHEDULER_REGISTRY.register()
class WarmupCosineLR(LRScheduler):
    """Linear warm-up from 0 to the initial learning rate, then half a cosine down to ``eta_min`` (RSS-T).

    Unlike with ``warmup_iter`` of the recipe, the cosine starts after the warm-up, and the first step has rate 0.

    Args:
        optimizer: to schedule.
        warmup: number of warm-up steps.
        eta_min: minimum learning rate.
        total_iter: total number of steps; default: the length of the training.

    Raises:
        ArgumentError: total_iter is missing or below 1.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        warmup: Positive = 5000,
        eta_min: float = 1e-6,
        total_iter: int | None = None,
    ) -> None:
        self.warmup, self.eta_min = warmup, eta_min
        self.total = _require_total('WarmupCosineLR', total_iter, 1)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of each parameter group after ``last_epoch`` steps."""
        step = self.last_epoch
        if step < self.warmup:
            return [rate * step / self.warmup for rate in self.base_lrs]
        return _half_cosine(self.base_lrs, self.eta_min, step - self.warmup, self.total - self.warmup)


@SCHEDULER_REGISTRY.register()
class ConstantCosineLR(LRScheduler):
    """The initial learning rate for some steps, then half a cosine down to ``eta_min`` (as in Restormer's recipe).

    Args:
        optimizer: to schedule.
        constant: number of steps with the initial rate.
        eta_min: minimum learning rate.
        total_iter: total number of steps; default: the length of the training.

    Raises:
        ArgumentError: total_iter is missing or below 1.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        constant: NotNegative = 0,
        eta_min: float = 1e-6,
        total_iter: int | None = None,
    ) -> None:
        self.constant, self.eta_min = constant, eta_min
        self.total = _require_total('ConstantCosineLR', total_iter, 1)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of each parameter group after ``last_epoch`` steps."""
        step = self.last_epoch - self.constant
        return _half_cosine(self.base_lrs, self.eta_min, step, self.total - self.constant)


def _half_cosine(
    rates: list[float | torch.Tensor], eta_min: float, step: int, total: int
) -> list[float | torch.Tensor]:
    """Return the rates on their way down to ``eta_min``, before, during or after ``total`` steps."""
    progress = min(1.0, max(0.0, step / max(1, total)))
    factor = 0.5 * (1 + math.cos(math.pi * progress))
    return [eta_min + factor * (rate - eta_min) for rate in rates]


@SCHEDULER_REGISTRY.register()
class MultiStepRestartLR(LRScheduler):
    """Multiply the rate by ``gamma`` at milestones, and reset it at restarts.

    Args:
        optimizer: to schedule.
        milestones: steps at which to multiply the learning rate by ``gamma``; duplicates count twice.
        gamma: factor at milestones.
        restarts: steps at which to reset the learning rate to the initial one times a weight, ignoring milestones.
        restart_weights: one weight per restart.

    Raises:
        ArgumentError: different numbers of restarts and weights.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: list[int],
        gamma: float = 0.1,
        restarts: list[int] | None = None,
        restart_weights: list[float] | None = None,
    ) -> None:
        self.milestones = list(milestones)
        self.gamma = gamma
        self.restarts = [0] if restarts is None else list(restarts)
        self.restart_weights = [1.0] if restart_weights is None else list(restart_weights)
        _require_same_length('MultiStepRestartLR', 'restarts', self.restarts, self.restart_weights)
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of each parameter group after ``last_epoch`` steps."""
        step = self.last_epoch
        if step in self.restarts:
            weight = self.restart_weights[self.restarts.index(step)]
            return [rate * weight for rate in self.base_lrs]
        factor = self.gamma ** self.milestones.count(step)
        return [group['lr'] * factor for group in self.optimizer.param_groups]


@SCHEDULER_REGISTRY.register()
class MultiStepLR(MultiStepRestartLR):
    """The same as MultiStepRestartLR, as in the original code.

    Args:
        optimizer: to schedule.
        milestones: steps at which to multiply the learning rate by ``gamma``.
        gamma: factor at milestones.
        restarts: see MultiStepRestartLR.
        restart_weights: one weight per restart.
    """


@SCHEDULER_REGISTRY.register()
class CosineAnnealingRestartLR(LRScheduler):
    """Successive cosine periods, each from a multiple of the initial rate down to ``eta_min``.

    The last step of a period belongs to it. After the last period, the rate stays constant.

    Args:
        optimizer: to schedule.
        periods: length of each period, in steps.
        restart_weights: one weight per period; None uses 1.
        eta_min: minimum learning rate; one, or one per period.

    Raises:
        ArgumentError: no periods, periods below 1, or different numbers of periods and weights or rates.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        periods: list[int],
        restart_weights: list[float] | None = None,
        eta_min: float | list[float] = 0.0,
    ) -> None:
        if not periods or min(periods) < 1:
            raise ArgumentError(f'CosineAnnealingRestartLR: periods is {periods}; expected positive lengths')
        self.periods = list(periods)
        self.restart_weights = [1.0] * len(periods) if restart_weights is None else list(restart_weights)
        self.eta_min = eta_min
        _require_same_length('CosineAnnealingRestartLR', 'periods', self.periods, self.restart_weights)
        if isinstance(eta_min, list) and len(eta_min) != len(periods):
            raise ArgumentError(f'CosineAnnealingRestartLR: {len(periods)} periods but {len(eta_min)} rates in eta_min')
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of each parameter group after ``last_epoch`` steps."""
        ends = list(accumulate(self.periods))
        step = min(self.last_epoch, ends[-1])
        index = bisect_left(ends, step)
        period = self.periods[index]
        progress = (step - (ends[index] - period)) / period
        factor = self.restart_weights[index] * 0.5 * (1 + math.cos(math.pi * progress))
        low = self.eta_min[index] if isinstance(self.eta_min, list) else self.eta_min
        return [low + factor * (rate - low) for rate in self.base_lrs]

    def require_length(self, total_iter: int) -> None:
        """Check that the periods cover the training.

        Args:
            total_iter: iterations of the training.

        Raises:
            ArgumentError: they are shorter.
        """
        if sum(self.periods) < total_iter - 1:
            raise ArgumentError(
                f'CosineAnnealingRestartLR: periods sum to {sum(self.periods)}, less than total_iter {total_iter}; '
                'lengthen the last one'
            )


@SCHEDULER_REGISTRY.register()
class LinearLR(LambdaLR):
    """Decay the learning rate linearly to zero.

    Args:
        optimizer: to schedule.
        total_iter: number of steps to zero; default: the length of the training.

    Raises:
        ArgumentError: total_iter is missing or below 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total_iter: int | None = None) -> None:
        self.total = total = _require_total('LinearLR', total_iter, 1)
        super().__init__(optimizer, lambda step: max(0.0, 1 - step / total))


@SCHEDULER_REGISTRY.register()
class VibrateLR(LambdaLR):
    """Eighty triangles under a decreasing envelope.

    Args:
        optimizer: to schedule.
        total_iter: total number of steps; default: the length of the training.

    Raises:
        ArgumentError: total_iter is missing or below 160 (two steps per triangle).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total_iter: int | None = None) -> None:
        self.total = total = _require_total('VibrateLR', total_iter, 160)
        super().__init__(optimizer, lambda step: vibrating_factor(step, total))


def vibrating_factor(step: int, total: int) -> float:
    """Return the factor of the initial rate in VibrateLR.

    Args:
        step: number of scheduler steps, t.
        total: length of the schedule, at least 160.

    Example:
        >>> vibrating_factor(0, 800), vibrating_factor(15, 800)
        (0.1, 0.95)
    """
    progress = step / total
    late = 0.2 if progress < 5 / 8 else 0.1
    envelope = 1 - 8 * progress / 3 if progress < 3 / 8 else late
    period = total // 80
    half = period // 2
    position = step % period
    height = position / half if position < half else 2 - position / half
    factor = envelope * height
    return max(0.1, factor) if step < half else factor


def _require_total(name: str, total_iter: int | None, least: int) -> int:
    if total_iter is None or total_iter < least:
        raise ArgumentError(f'{name}: total_iter is {total_iter}; it must be at least {least}')
    return total_iter


def _require_same_length(name: str, what: str, places: Sequence[int], weights: Sequence[float]) -> None:
    if len(places) != len(weights):
        raise ArgumentError(f'{name}: {len(places)} {what} but {len(weights)} restart_weights; specify one weight each')
