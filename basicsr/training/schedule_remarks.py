"""Warnings for schedules that do not fit the length of a training; valid, but probably unintended."""

from __future__ import annotations

from torch.optim.lr_scheduler import LRScheduler

from basicsr.training import schedules


def schedule_remarks(scheduler: LRScheduler, total_iter: int, warmup_iter: int = -1) -> list[str]:
    """Return the texts of warnings at the start of a training.

    Args:
        scheduler: of the recipe; only schedules of :mod:`basicsr.training.schedules` are checked.
        total_iter: iterations of the training; iteration i runs after i - 1 steps of the schedule.
        warmup_iter: of the recipe.
    """
    found = []
    match scheduler:
        case schedules.CosineAnnealingLR():
            found = _length('T_max', scheduler.T_max, total_iter, 'afterwards, the learning rate rises again')
        case schedules.WarmupCosineLR() if scheduler.warmup >= total_iter:
            found = [f'warmup {scheduler.warmup} is not less than total_iter {total_iter}: the warm-up does not end']
        case schedules.ConstantCosineLR() if scheduler.constant >= total_iter:
            found = [f'constant {scheduler.constant} is not less than total_iter {total_iter}: the rate never falls']
        case schedules.WarmupCosineLR() | schedules.ConstantCosineLR():
            then = f'afterwards, the learning rate stays at {scheduler.eta_min:g}'
            found = _length('its own total_iter', scheduler.total, total_iter, then)
        case schedules.MultiStepRestartLR():
            for name, steps in (('milestones', scheduler.milestones), ('restarts', scheduler.restarts)):
                late = [step for step in steps if step >= total_iter]
                never = name == 'milestones' and late == steps
                effect = 'the learning rate never falls' if never else 'they have no effect'
                found += [f'{name} {late} are not below total_iter {total_iter}: {effect}'] if late else []
        case schedules.CosineAnnealingRestartLR():
            then = 'afterwards, the learning rate stays'
            found = _length('the sum of periods', sum(scheduler.periods), total_iter, then)
        case schedules.LinearLR():
            found = _length('its own total_iter', scheduler.total, total_iter, 'afterwards, the learning rate is 0')
        case schedules.VibrateLR():
            found = _length('its own total_iter', scheduler.total, total_iter, 'afterwards, the triangles continue')
    if warmup_iter > total_iter:
        found.append(f'warmup_iter {warmup_iter} is more than total_iter {total_iter}: the warm-up does not end')
    return found


def _length(name: str, length: int, total_iter: int, then: str) -> list[str]:
    """Compare the length of a schedule with that of the training."""
    if length < total_iter - 1:
        return [f'{name} {length} is less than the total_iter of the training, {total_iter}: {then}']
    if length > total_iter:
        return [f'{name} {length} is more than the total_iter of the training, {total_iter}: it does not finish']
    return []
