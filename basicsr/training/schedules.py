"""Learning-rate schedules of the original option files, as schedulers of torch, and the rule that applies them.

A scheduler is stepped before every iteration except the first, so t = iteration - 1 steps were taken when
iteration i runs. Schedules that go on from the rate in force (cosine, multi-step) go on from the
warmed-up rate after a warm-up, as the original does.
"""

from __future__ import annotations

import inspect
import math
import warnings
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR as TorchCosineAnnealingLR
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import SCHEDULER_REGISTRY, BlockLike, plain_block
from basicsr.utils.signature import Positive


def build_scheduler(optimizer: torch.optim.Optimizer, opt: BlockLike, total_iter: int | None = None) -> LRScheduler:
    """Build the schedule that a block names; the block is left as it is.

    Args:
        optimizer: whose learning rates are scheduled.
        opt: ``type`` ('TrueCosineAnnealingLR') and keyword arguments.
        total_iter: iterations of the training; LinearLR and VibrateLR use it if their block has none.

    Raises:
        ArgumentError: missing ``type``, unknown or unfit arguments, or periods that end before ``total_iter``.
        UnknownNameError: no schedule of that name.
    """
    options = plain_block(opt, 'scheduler')
    if 'type' in options and total_iter is not None:
        factory = SCHEDULER_REGISTRY.get(options['type'])
        if 'total_iter' in inspect.signature(factory).parameters and options.get('total_iter') is None:
            options['total_iter'] = total_iter
    scheduler: LRScheduler = SCHEDULER_REGISTRY.build(options, optimizer=optimizer)
    if isinstance(scheduler, CosineAnnealingRestartLR) and total_iter is not None:
        scheduler.require_length(total_iter)
    return scheduler


def advance(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler | None, iteration: int, warmup_iter: int = -1
) -> None:
    """Set the learning rates for an iteration; call it once before each, in order.

    The scheduler steps unless the iteration is the first; during a linear warm-up the rate is then overwritten
    with initial rate x iteration / warmup_iter.

    Args:
        optimizer: its groups' ``lr`` is set.
        scheduler: made for that optimizer; None keeps the rate constant after the warm-up.
        iteration: 1-based.
        warmup_iter: the first iteration after the warm-up; -1 for none.

    Raises:
        ValueError: iteration below 1.
    """
    if iteration < 1:
        raise ValueError(f'iterations count from 1, got {iteration}')
    if scheduler is not None and iteration > 1:
        with warnings.catch_warnings():  # a first step that was skipped is no wrong order
            warnings.filterwarnings('ignore', 'Detected call of `lr_scheduler.step')
            scheduler.step()
    if scheduler is None and warmup_iter > 0:
        for group in optimizer.param_groups:
            group['lr'] = group.setdefault('initial_lr', group['lr'])
    if iteration < warmup_iter:
        for group in optimizer.param_groups:
            group['lr'] = group['initial_lr'] * iteration / warmup_iter


def catch_up(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, iteration: int, warmup_iter: int = -1) -> None:
    """Bring a new optimizer and its schedule to where they would be after that many iterations.

    Every iteration is gone through, because schedules go on from the rate in force: about a second for 100 000.

    Args:
        optimizer: just built; the learning rates of its groups are set.
        scheduler: just built for it.
        iteration: iterations done, 0 or more.
        warmup_iter: see :func:`advance`.
    """
    for step in range(1, iteration + 1):
        advance(optimizer, scheduler, step, warmup_iter)


@SCHEDULER_REGISTRY.register()
class CosineAnnealingLR(TorchCosineAnnealingLR):
    """torch's cosine schedule: eta_min + (lr - eta_min) (1 + cos(pi t / T_max)) / 2; it rises again after T_max.

    Args:
        optimizer: whose learning rates are scheduled.
        T_max: steps from the initial rate to ``eta_min``.
        eta_min: lowest rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, T_max: Positive, eta_min: float = 0.0) -> None:
        super().__init__(optimizer, T_max, eta_min)


@SCHEDULER_REGISTRY.register()
class TrueCosineAnnealingLR(CosineAnnealingLR):
    """The cosine schedule under the name that NAFNet's and SAM-Deblur's option files use.

    Args:
        optimizer: whose learning rates are scheduled.
        T_max: steps from the initial rate to ``eta_min``.
        eta_min: lowest rate.
    """


@SCHEDULER_REGISTRY.register()
class WarmupCosineLR(LRScheduler):
    """A straight line from 0 to the initial rate, then half a cosine down to ``eta_min`` (RSS-T).

    Unlike the recipe's ``warmup_iter``, the cosine begins where the warm-up ends, and the first step has rate 0.

    Args:
        optimizer: whose learning rates are scheduled.
        warmup: steps of the warm-up.
        eta_min: lowest rate.
        total_iter: all steps; the training's length if the block has none (see ``build_scheduler``).

    Raises:
        ArgumentError: no total_iter, or below 1.
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
        """The rate of each parameter group after ``last_epoch`` steps."""
        step = self.last_epoch
        if step < self.warmup:
            return [rate * step / self.warmup for rate in self.base_lrs]
        progress = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        factor = 0.5 * (1 + math.cos(math.pi * progress))
        return [self.eta_min + factor * (rate - self.eta_min) for rate in self.base_lrs]


@SCHEDULER_REGISTRY.register()
class MultiStepRestartLR(LRScheduler):
    """The rate falls by ``gamma`` at milestones and starts afresh at restarts.

    Args:
        optimizer: whose learning rates are scheduled.
        milestones: steps at which the rate in force is multiplied by ``gamma``; one listed twice counts twice.
        gamma: factor.
        restarts: steps at which the rate becomes the initial rate times a weight; a milestone there is ignored.
        restart_weights: one weight a restart.

    Raises:
        ArgumentError: restarts and weights differ in number.
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
        """The rate of each parameter group after ``last_epoch`` steps."""
        step = self.last_epoch
        if step in self.restarts:
            weight = self.restart_weights[self.restarts.index(step)]
            return [rate * weight for rate in self.base_lrs]
        factor = self.gamma ** self.milestones.count(step)
        return [group['lr'] * factor for group in self.optimizer.param_groups]


@SCHEDULER_REGISTRY.register()
class MultiStepLR(MultiStepRestartLR):
    """The same as MultiStepRestartLR, to which the original sends this name as well.

    Args:
        optimizer: whose learning rates are scheduled.
        milestones: steps at which the rate in force is multiplied by ``gamma``.
        gamma: factor.
        restarts: see MultiStepRestartLR.
        restart_weights: one weight a restart.
    """


@SCHEDULER_REGISTRY.register()
class CosineAnnealingRestartLR(LRScheduler):
    """Cosine periods one after the other, each from a weight of the initial rate down to ``eta_min``.

    A step at which a period ends still belongs to it. After the last period its final rate stays.

    Args:
        optimizer: whose learning rates are scheduled.
        periods: length of each period in steps.
        restart_weights: one weight a period; all 1 if None.
        eta_min: lowest rate, or that of each period.

    Raises:
        ArgumentError: no periods, periods below 1, or periods and weights or rates that differ in number.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        periods: list[int],
        restart_weights: list[float] | None = None,
        eta_min: float | list[float] = 0.0,
    ) -> None:
        if not periods or min(periods) < 1:
            raise ArgumentError(f'CosineAnnealingRestartLR: periods is {periods}; it needs one or more lengths above 0')
        self.periods = list(periods)
        self.restart_weights = [1.0] * len(periods) if restart_weights is None else list(restart_weights)
        self.eta_min = eta_min
        _require_same_length('CosineAnnealingRestartLR', 'periods', self.periods, self.restart_weights)
        if isinstance(eta_min, list) and len(eta_min) != len(periods):
            raise ArgumentError(f'CosineAnnealingRestartLR: {len(periods)} periods but {len(eta_min)} rates in eta_min')
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        """The rate of each parameter group after ``last_epoch`` steps."""
        ends = list(accumulate(self.periods))
        step = min(self.last_epoch, ends[-1])
        index = bisect_left(ends, step)
        period = self.periods[index]
        progress = (step - (ends[index] - period)) / period
        factor = self.restart_weights[index] * 0.5 * (1 + math.cos(math.pi * progress))
        low = self.eta_min[index] if isinstance(self.eta_min, list) else self.eta_min
        return [low + factor * (rate - low) for rate in self.base_lrs]

    def require_length(self, total_iter: int) -> None:
        """Check that the periods last as long as the training.

        Args:
            total_iter: iterations of the training.

        Raises:
            ArgumentError: they end earlier.
        """
        if sum(self.periods) < total_iter - 1:
            raise ArgumentError(
                f'CosineAnnealingRestartLR: periods sum to {sum(self.periods)}, less than total_iter {total_iter}; '
                'lengthen the last one'
            )


@SCHEDULER_REGISTRY.register()
class LinearLR(LambdaLR):
    """A straight line from the initial rate to zero.

    Args:
        optimizer: whose learning rates are scheduled.
        total_iter: steps to zero; the training's length if the block has none (see ``build_scheduler``).

    Raises:
        ArgumentError: no total_iter, or below 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total_iter: int | None = None) -> None:
        self.total = total = _require_total('LinearLR', total_iter, 1)
        super().__init__(optimizer, lambda step: max(0.0, 1 - step / total))


@SCHEDULER_REGISTRY.register()
class VibrateLR(LambdaLR):
    """Eighty triangles under a falling envelope.

    Args:
        optimizer: whose learning rates are scheduled.
        total_iter: length; the training's length if the block has none (see ``build_scheduler``).

    Raises:
        ArgumentError: no total_iter, or below 160 (a triangle needs two steps).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, total_iter: int | None = None) -> None:
        self.total = total = _require_total('VibrateLR', total_iter, 160)
        super().__init__(optimizer, lambda step: vibrating_factor(step, total))


def vibrating_factor(step: int, total: int) -> float:
    """The share of the initial rate that VibrateLR uses.

    Args:
        step: scheduler steps taken, t.
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
        raise ArgumentError(f'{name}: total_iter is {total_iter}; it needs a number of at least {least}')
    return total_iter


def _require_same_length(name: str, what: str, places: Sequence[int], weights: Sequence[float]) -> None:
    if len(places) != len(weights):
        raise ArgumentError(f'{name}: {len(places)} {what} but {len(weights)} restart_weights; give one weight each')
