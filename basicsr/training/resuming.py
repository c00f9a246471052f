"""Where a training starts: a new experiment, the last checkpoint of an old one, or a state that the user names."""

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
from basicsr.training.optimizers import adopt_moments
from basicsr.training.schedules import catch_up
from basicsr.utils.errors import OptionError
from basicsr.utils.registry import BlockLike

logger = logging.getLogger(__name__)

HOW_TO_STEP = ('fused', 'foreach', 'capturable', 'differentiable')  # of optimizers: changes rounding at most
PROGRESS = ('last_epoch', 'base_lrs', 'lr_lambdas', 'verbose')  # of schedules: no settings


def claim_experiment(experiment: Path, auto_resume: bool, resume_state: str | None, clear: bool) -> None:
    """Make sure that the folder of an experiment is new, or may be continued; it is made once a step has been done.

    Args:
        experiment: ``experiments/<name>``.
        auto_resume: it may exist.
        resume_state: it may exist if this state lies in it.
        clear: it is removed first if it exists.

    Raises:
        OptionError: it exists and nothing says that it is to be continued.
    """
    if clear and experiment.is_dir():
        shutil.rmtree(experiment)
    inside = resume_state is not None and experiment.resolve() in Path(resume_state).resolve().parents
    used = any(path.is_file() for path in experiment.rglob('*'))
    if used and not (auto_resume or inside):
        raise OptionError(
            f'{experiment.resolve()} exists already. Continue it with --auto_resume, choose another name '
            f'(--force_yml name={experiment.name}_2), or remove the folder'
        )
    CheckpointFolder(experiment).clear_parts()


def find_checkpoint(
    folder: CheckpointFolder, auto_resume: bool, resume_state: str | None, network: bool, processes: Processes
) -> Checkpoint | None:
    """The checkpoint to continue from; None to start at the beginning.

    Args:
        folder: of the experiment.
        auto_resume: take the last whole checkpoint of the experiment; it wins over ``resume_state``.
        resume_state: a training state.
        network: whether its network file is needed.
        processes: all of them get the same checkpoint.

    Raises:
        CheckpointError: ``resume_state`` cannot be continued from.
        WeightsError: it, or the network file beside it, cannot be read.
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
        logger.info('no checkpoint in %s yet: starting at the beginning', folder.states)
    return None


def choose_seed(given: int | None, checkpoint: Checkpoint | None, processes: Processes) -> int:
    """The seed of a run: the one given, else that of the checkpoint, else a new one, the same in all processes."""
    if given is not None:
        return given
    if checkpoint is not None:
        return int(checkpoint.state['recipe']['manual_seed'])
    seed = processes.from_first(secrets.randbelow(2**31))
    logger.info('manual_seed: %d (drawn)', seed)
    return seed


def recipe_of(options: Options, seed: int, total_batch: int) -> dict[str, Any]:
    """Return the part of the options that decides what a training computes, as plain values.

    It excludes the fields marked with ``NotRecipe``, the places of data and logs, and validation.

    Args:
        options: all options.
        seed: in force.
        total_batch: samples in a step of all processes together.
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
    """Make sure that a training goes on as it began.

    Raises:
        OptionError: the recipe differs, and nobody said that it should; lists what differs.
    """
    changes = recipe_changes(checkpoint.state['recipe'], recipe)
    if changes and not changes_wanted:
        listed = '\n  '.join(changes)
        raise OptionError(
            f'{checkpoint.path} is of another recipe:\n  {listed}\nTo go on with the new one: '
            '--force_yml path:resume_with_changes=true; it is another experiment, then'
        )
    for change in changes:
        logger.warning('the recipe changes after %d steps: %s', checkpoint.iteration, change)


def recipe_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two recipes, one line for each key: ``train.optim_g.lr: 0.001 -> 0.0005``."""
    old, new = _flat(before), _flat(now)
    unset = object()
    return [
        f'{key}: {old.get(key, "not set")} -> {new.get(key, "not set")}'
        for key in dict.fromkeys([*old, *new])
        if old.get(key, unset) != new.get(key, unset)
    ]


def continue_exactly(optimizer: torch.optim.Optimizer, scheduler: LRScheduler, checkpoint: Checkpoint) -> None:
    """Set an optimizer and its schedule to what they were when a checkpoint was written.

    Args:
        optimizer: as the recipe has it, new.
        scheduler: likewise.
        checkpoint: of the same recipe. If its settings are others all the same, a warning names them: version 0.1
            did not apply the changes of ``path.resume_with_changes``.

    Raises:
        ValueError, KeyError, TypeError: it is of another optimizer or schedule.
    """
    built = _settings(optimizer.state_dict(), scheduler.state_dict())
    optimizer_state, scheduler_state = checkpoint.state['optimizers'][0], checkpoint.state['schedulers'][0]
    optimizer.load_state_dict(optimizer_state)
    _require_shapes(optimizer)
    scheduler.load_state_dict(scheduler_state)
    kept = _settings(optimizer_state, scheduler_state)
    for key in (key for key in kept if key in built and kept[key] != built[key]):
        logger.warning(
            '%s goes on with %s %s, although its recipe says %s: an earlier version has not applied a change. '
            '--force_yml path:resume_with_changes=true applies the recipe',
            checkpoint.path, key, kept[key], built[key],
        )  # fmt: skip


def continue_anew(
    optimizer: torch.optim.Optimizer, scheduler: LRScheduler, opt: BlockLike, warmup_iter: int, checkpoint: Checkpoint
) -> None:
    """Bring an optimizer and its schedule to a checkpoint's iteration, under a recipe that may have changed since.

    Learning rates are what they would be if the recipe had been in force from the first iteration. Moments of the
    optimizer are those of the checkpoint, unless they are of another kind, which a warning says.

    Args:
        optimizer: as the recipe has it, new.
        scheduler: likewise.
        opt: the block that the optimizer was built of.
        warmup_iter: of the recipe.
        checkpoint: of the recipe before.

    Raises:
        ValueError, KeyError, TypeError: it is of other parameters.
    """
    before = checkpoint.state['recipe']['train']['optim_g']['type']
    afresh = adopt_moments(optimizer, opt, checkpoint.state['optimizers'][0], before)
    if afresh is not None:
        logger.warning('the moments of the optimizer start at zero: %s', afresh)
    _require_shapes(optimizer)
    catch_up(optimizer, scheduler, checkpoint.iteration, warmup_iter)


def _require_shapes(optimizer: torch.optim.Optimizer) -> None:
    for parameter, kept in optimizer.state.items():
        shapes = {value.shape for value in kept.values() if isinstance(value, torch.Tensor) and value.ndim > 0}
        if shapes - {parameter.shape}:
            raise ValueError(f'what it keeps of a weight {tuple(parameter.shape)} has another shape')


def _settings(optimizer_state: Mapping[str, Any], scheduler_state: Mapping[str, Any]) -> dict[str, Any]:
    """What an optimizer and a schedule were built with, as far as their states tell."""
    group = optimizer_state['param_groups'][0]
    settings = {key: value for key, value in group.items() if key not in ('params', 'lr', *HOW_TO_STEP)}
    settings |= {key: value for key, value in scheduler_state.items() if key not in PROGRESS and key[:1] != '_'}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in settings.items()}


def own_generators(states: list[torch.Tensor], processes: Processes, at: int) -> torch.Tensor | None:
    """The generators' states of this process in a checkpoint, None if it had fewer processes.

    Args:
        states: of each process that wrote the checkpoint.
        processes: those of now.
        at: iteration of the checkpoint, for the message.
    """
    if len(states) != processes.world:
        logger.warning(
            'continuing after %d steps with %d processes instead of %d: the same up to rounding, not bit for bit',
            at,
            processes.world,
            len(states),
        )
    return states[processes.rank] if processes.rank < len(states) else None


def _flat(value: Any, above: str = '') -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {above: value}
    return {
        name: item
        for key, inner in value.items()
        for name, item in _flat(inner, f'{above}.{key}' if above else str(key)).items()
    }
