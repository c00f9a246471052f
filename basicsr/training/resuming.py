"""Where a training starts: a new experiment, the last checkpoint of an old one, or a state that the user names."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from basicsr.training.checkpoints import Checkpoint, CheckpointFolder, read_checkpoint
from basicsr.training.distributed import Processes
from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)

NOT_RECIPE = {  # keys whose change leaves a training what it is
    'train': ('max_bad_steps', 'on_bad_image', 'published_batch_size'),
    'datasets.train': (
        'name',
        'num_worker_per_gpu',
        'batch_size_per_gpu',
        'prefetch_mode',
        'num_prefetch_queue',
        'pin_memory',
        'use_shuffle',
        'io_backend',
    ),
}


def open_experiment(experiment: Path, auto_resume: bool, resume_state: str | None, clear: bool) -> None:
    """Make the folder of an experiment, or make sure that an existing one may be continued.

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
    used = any(path.is_file() for path in experiment.rglob('*'))  # empty folders are left by a start that was refused
    if used and not (auto_resume or inside):
        raise OptionError(
            f'{experiment.resolve()} exists already. Continue it with --auto_resume, choose another name '
            f'(--force_yml name={experiment.name}_2), or remove the folder'
        )
    CheckpointFolder(experiment).prepare()
    (experiment / 'visualization').mkdir(exist_ok=True)


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


def recipe_of(options: Mapping[str, Any], seed: int, total_batch: int) -> dict[str, Any]:
    """The part of the resolved options that decides what a training computes.

    Where data and logs lie, how many processes load data, and what is validated are no part of it.

    Args:
        options: all options as plain values.
        seed: in force.
        total_batch: samples in a step of all processes together.
    """
    train = {k: v for k, v in options['train'].items() if k not in NOT_RECIPE['train']}
    data = {
        key: value
        for key, value in options['datasets']['train'].items()
        if key not in NOT_RECIPE['datasets.train'] and not key.startswith('dataroot')
    }
    return {
        'mode': options['mode'],
        'manual_seed': seed,
        'network_g': options['network_g'],
        'train': {**train, 'total_batch_size': total_batch},
        'datasets.train': data,
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
