"""The start of a training: new, from the latest checkpoint of the experiment, or from ``path.resume_state``."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from basicsr.options import Options
from basicsr.options.fields import plain
from basicsr.training.checkpoints import Checkpoint, CheckpointFolder, read_checkpoint
from basicsr.training.distributed import Processes
from basicsr.training.optimizers import HOW_TO_STEP, adopt_moments
from basicsr.training.scheduling import catch_up
from basicsr.utils.errors import OptionError
from basicsr.utils.registry import BlockLike
from basicsr.utils.temporary import remove_abandoned

logger = logging.getLogger(__name__)

PROGRESS = ('last_epoch', 'base_lrs', 'lr_lambdas', 'verbose')  # of schedules: progress, not settings


def claim_experiment(experiment: Path, auto_resume: bool, resume_state: str | None, clear: bool) -> None:
    """Check that an experiment is new, or may be continued; its folder is created after the first step.

    Args:
        experiment: ``experiments/<name>``.
        auto_resume: allow an existing experiment.
        resume_state: allow an existing experiment that contains this state.
        clear: delete an existing experiment first.

    Raises:
        OptionError: it exists, and no option continues it.
    """
    if clear and experiment.is_dir():
        shutil.rmtree(experiment)
    inside = resume_state is not None and experiment.resolve() in Path(resume_state).resolve().parents
    used = any(path.is_file() for path in experiment.rglob('*'))
    if used and not (auto_resume or inside):
        raise OptionError(
            f'{experiment.resolve()} already exists. Continue it with --auto_resume, choose another name '
            f'(--force_yml name={experiment.name}_2), or delete the folder'
        )
    for folder in (experiment, *(path for path in experiment.rglob('*') if path.is_dir())):
        remove_abandoned(folder, alone=True)


def find_checkpoint(
    folder: CheckpointFolder, auto_resume: bool, resume_state: str | None, network: bool, processes: Processes
) -> Checkpoint | None:
    """Return the checkpoint to continue from; None starts a new training.

    Args:
        folder: of the experiment.
        auto_resume: use the latest valid checkpoint of the experiment, before ``resume_state``.
        resume_state: path of a training state.
        network: read its network file, too.
        processes: of the job; all get the same checkpoint.

    Raises:
        CheckpointError: ``resume_state`` is not a valid checkpoint.
        WeightsError: it, or its network file, cannot be read.
    """
    latest: list[Checkpoint | None] = [None]
    if auto_resume:
        processes.first_does(lambda: latest.__setitem__(0, folder.latest()))
    own = latest[0]
    iteration = processes.from_first(-1 if own is None else own.iteration)
    if iteration >= 0:
        return own or read_checkpoint(folder.state_file(iteration))
    if resume_state is not None:
        return read_checkpoint(Path(resume_state), network)
    if auto_resume:
        logger.info('no checkpoint in %s: starting a new training', folder.states)
    return None


def choose_seed(given: int | None, checkpoint: Checkpoint | None, processes: Processes) -> int:
    """Return the seed of a run: ``given``, that of the checkpoint, or a random one, equal in all processes."""
    if given is not None:
        return given
    if checkpoint is not None:
        return int(checkpoint.state['recipe']['manual_seed'])
    seed = processes.from_first(secrets.randbelow(2**31))
    logger.info('manual_seed: %d (random)', seed)
    return seed


def recipe_of(options: Options, seed: int, total_batch: int | None) -> dict[str, Any]:
    """Return the part of the options that decides what a training computes, as plain values.

    It excludes the fields marked with ``NotRecipe``, the places of data and logs, and validation.

    Args:
        options: all options.
        seed: in force.
        total_batch: samples in a step of all processes together; None if the stages have their own.
    """
    train, data = (plain(section, recipe_only=True) for section in options.for_training())
    return {
        'mode': options.mode,
        'manual_seed': seed,
        'network_g': options.network_g.as_dict(),
        'train': {**train, 'total_batch_size': total_batch},
        'datasets.train': {k: v for k, v in data.items() if k != 'io_backend' and not k.startswith('dataroot')},
    }


def compare_recipes(checkpoint: Checkpoint, recipe: Mapping[str, Any], changes_wanted: bool) -> None:
    """Check that the recipe did not change since the checkpoint.

    Raises:
        OptionError: the recipe changed without ``path.resume_with_changes``; lists the changes.
    """
    changes = recipe_changes(checkpoint.state['recipe'], recipe)
    if changes and not changes_wanted:
        listed = '\n  '.join(changes)
        raise OptionError(
            f'{checkpoint.path} was trained with a different recipe:\n  {listed}\nTo continue with the new one: '
            '--force_yml path:resume_with_changes=true'
        )
    for change in changes:
        logger.warning('the recipe changes after %d steps: %s', checkpoint.iteration, change)


def recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences of two recipes, one line per key: ``train.optim_g.lr: 0.001 -> 0.0005``.

    A missing key equals null, since options that are added to the program are null by default.
    """
    old, new = _flat(before), _flat(now)
    return [
        f'{key}: {old.get(key, "not set")} -> {new.get(key, "not set")}'
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]


def continue_exactly(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, checkpoint: Checkpoint) -> None:
    """Restore an optimizer and its schedule from a checkpoint.

    Args:
        optimizer: newly built from the recipe.
        scheduler: newly built from the recipe.
        checkpoint: of the same recipe. If its settings differ, a warning lists them: version 0.1 did not apply the
            changes of ``path.resume_with_changes``.

    Raises:
        ValueError, KeyError, TypeError: it contains a different optimizer or schedule.
    """
    built = _settings(optimizer.state_dict(), scheduler.state_dict())
    optimizer_state, scheduler_state = checkpoint.state['optimizers'][0], checkpoint.state['schedulers'][0]
    how = [{key: group[key] for key in HOW_TO_STEP if key in group} for group in optimizer.param_groups]
    groups = [{**group, **own} for group, own in zip(optimizer_state['param_groups'], how, strict=True)]
    optimizer.load_state_dict({**optimizer_state, 'param_groups': groups})  # another device may step in another way
    _require_shapes(optimizer)
    scheduler.load_state_dict(scheduler_state)
    kept = _settings(optimizer_state, scheduler_state)
    for key in (key for key in kept if key in built and kept[key] != built[key]):
        logger.warning(
            '%s: continuing with %s %s, although the recipe has %s; version 0.1 did not apply this change. '
            '--force_yml path:resume_with_changes=true applies the recipe',
            checkpoint.path, key, kept[key], built[key],
        )  # fmt: skip


def continue_anew(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, opt: BlockLike, warmup_iter: int, checkpoint: Checkpoint
) -> None:
    """Advance an optimizer and its schedule to the iteration of a checkpoint, with a changed recipe.

    Learning rates are those of the new recipe from the first iteration. The moments of the optimizer come from the
    checkpoint; if they do not fit, they start at zero, with a warning.

    Args:
        optimizer: newly built from the recipe.
        scheduler: newly built from the recipe.
        opt: the block of the optimizer.
        warmup_iter: of the recipe.
        checkpoint: of the previous recipe.

    Raises:
        ValueError, KeyError, TypeError: it has other parameters.
    """
    before = checkpoint.state['recipe']['train']['optim_g']['type']
    afresh = adopt_moments(optimizer, opt, checkpoint.state['optimizers'][0], before)
    if afresh is not None:
        logger.warning('resetting the optimizer moments to zero: %s', afresh)
    _require_shapes(optimizer)
    catch_up(optimizer, scheduler, checkpoint.iteration, warmup_iter)


def _require_shapes(optimizer: torch.optim.Optimizer) -> None:
    for parameter, kept in optimizer.state.items():
        shapes = {value.shape for value in kept.values() if isinstance(value, torch.Tensor) and value.ndim > 0}
        if shapes - {parameter.shape}:
            raise ValueError(f'the optimizer state does not have the shape of a weight, {tuple(parameter.shape)}')


def _settings(optimizer_state: Mapping[str, Any], scheduler_state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an optimizer and a schedule from their states."""
    group = optimizer_state['param_groups'][0]
    settings = {key: value for key, value in group.items() if key not in ('params', 'lr', *HOW_TO_STEP)}
    settings |= {key: value for key, value in scheduler_state.items() if key not in PROGRESS and key[:1] != '_'}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def own_generators(states: list[torch.Tensor], processes: Processes, at: int) -> torch.Tensor | None:
    """Return the generator states of this process in a checkpoint; None if it had fewer processes.

    Args:
        states: of all processes that wrote the checkpoint.
        processes: of this job.
        at: iteration of the checkpoint, for the message.
    """
    if len(states) != processes.world:
        text = 'continuing after %d steps with %d processes instead of %d: equal up to rounding, not bit for bit'
        logger.warning(text, at, processes.world, len(states))
    return states[processes.rank] if processes.rank < len(states) else None


def _flat(value: Any, above: str = '') -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {above: value}
    return {
        name: item
        for key, inner in value.items()
        for name, item in _flat(inner, f'{above}.{key}' if above else str(key)).items()
    }
