"""Build and advance learning-rate schedules.

The scheduler steps before every iteration except the first, so iteration i runs after t = i - 1 steps. Schedules that
update the current rate (cosine, multi-step) continue from the rate after the warm-up, as in the original code.
"""

from __future__ import annotations

import inspect
import warnings

import torch
from torch.optim.lr_scheduler import LRScheduler

from basicsr.training.schedules import CosineAnnealingRestartLR
from basicsr.utils.registry import SCHEDULER_REGISTRY, BlockLike, plain_block


def build_scheduler(optimizer: torch.optim.Optimizer, opt: BlockLike, total_iter: int | None = None) -> LRScheduler:
    """Build the schedule of a block; the block is not modified.

    Args:
        optimizer: to schedule.
        opt: ``type`` ('TrueCosineAnnealingLR') and keyword arguments.
        total_iter: iterations of the training; default of LinearLR and VibrateLR.

    Raises:
        ArgumentError: missing ``type``, unknown or invalid arguments, or periods shorter than ``total_iter``.
        UnknownNameError: unknown schedule.
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
    """Set the learning rates for an iteration; call it before each iteration, in order.

    The scheduler steps except before the first iteration. During the linear warm-up, the rate is then set to
    initial rate x iteration / warmup_iter.

    Args:
        optimizer: to set ``lr`` of its groups.
        scheduler: of that optimizer; None keeps the rate constant after the warm-up.
        iteration: 1-based.
        warmup_iter: the first iteration after the warm-up; -1 for none.

    Raises:
        ValueError: iteration below 1.
    """
    if iteration < 1:
        raise ValueError(f'iterations count from 1, got {iteration}')
    if scheduler is not None and iteration > 1:
        with warnings.catch_warnings():  # the first optimizer step may have been skipped
            warnings.filterwarnings('ignore', 'Detected call of `lr_scheduler.step')
            scheduler.step()
    if scheduler is None and warmup_iter > 0:
        for group in optimizer.param_groups:
            group['lr'] = group.setdefault('initial_lr', group['lr'])
    if iteration < warmup_iter:
        for group in optimizer.param_groups:
            group['lr'] = group['initial_lr'] * iteration / warmup_iter


def catch_up(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, iteration: int, warmup_iter: int = -1) -> None:
    """Advance a new optimizer and its schedule by a number of iterations.

    Every iteration is computed, since schedules update the current rate: about a second for 100,000.

    Args:
        optimizer: new; the learning rates of its groups are set.
        scheduler: new, of that optimizer.
        iteration: number of iterations done.
        warmup_iter: see :func:`advance`.
    """
    for step in range(1, iteration + 1):
        advance(optimizer, scheduler, step, warmup_iter)
