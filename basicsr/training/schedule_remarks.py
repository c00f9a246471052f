"""Where a schedule and the length of a training do not go together; not wrong, but hardly meant."""

from __future__ import annotations

from functools import singledispatch

from torch.optim.lr_scheduler import LRScheduler

from basicsr.training import schedules


def schedule_remarks(scheduler: LRScheduler, total_iter: int, warmup_iter: int = -1) -> list[str]:
    """Texts for warnings at the start of a training.

    Args:
        scheduler: as the recipe has it. Of schedules that are not in :mod:`basicsr.training.schedules` nothing is said.
        total_iter: iterations of the training; iteration i runs after i - 1 steps of the schedule.
        warmup_iter: of the recipe.
    """
    found = _remarks(scheduler, total_iter)
    if warmup_iter > total_iter:
        found.append(f'warmup_iter {warmup_iter} is more than total_iter {total_iter}: the warm-up does not end')
    return found


@singledispatch
def _remarks(scheduler: LRScheduler, total_iter: int) -> list[str]:
    return []


@_remarks.register
def _cosine(scheduler: schedules.CosineAnnealingLR, total_iter: int) -> list[str]:
    return _length('T_max', scheduler.T_max, total_iter, 'after it the learning rate rises again')


@_remarks.register
def _warmup_cosine(scheduler: schedules.WarmupCosineLR, total_iter: int) -> list[str]:
    if scheduler.warmup >= total_iter:
        return [f'warmup {scheduler.warmup} is not less than total_iter {total_iter}: the warm-up does not end']
    then = f'after it the learning rate stays at {scheduler.eta_min:g}'
    return _length('its own total_iter', scheduler.total, total_iter, then)


@_remarks.register
def _multi_step(scheduler: schedules.MultiStepRestartLR, total_iter: int) -> list[str]:
    late = [step for step in scheduler.milestones if step >= total_iter]
    found = []
    if late:
        effect = 'the learning rate never falls' if len(late) == len(scheduler.milestones) else 'they do nothing'
        found.append(f'milestones {late} are not below total_iter {total_iter}: {effect}')
    late = [step for step in scheduler.restarts if step >= total_iter]
    return found + ([f'restarts {late} are not below total_iter {total_iter}: they do nothing'] if late else [])


@_remarks.register
def _periods(scheduler: schedules.CosineAnnealingRestartLR, total_iter: int) -> list[str]:
    return _length('the sum of periods', sum(scheduler.periods), total_iter, 'after it the learning rate stays')


@_remarks.register
def _line(scheduler: schedules.LinearLR, total_iter: int) -> list[str]:
    return _length('its own total_iter', scheduler.total, total_iter, 'after it the learning rate is 0')


@_remarks.register
def _triangles(scheduler: schedules.VibrateLR, total_iter: int) -> list[str]:
    return _length('its own total_iter', scheduler.total, total_iter, 'after it the triangles go on')


def _length(name: str, length: int, total_iter: int, then: str) -> list[str]:
    """The remark about a schedule of another length than the training's."""
    if length < total_iter - 1:
        return [f'{name} {length} is less than the total_iter of the training, {total_iter}: {then}']
    if length > total_iter:
        return [
            f'{name} {length} is more than the total_iter of the training, {total_iter}: it does not get to its end'
        ]
    return []
