"""Checkpoints: pairs of a network file and a training state."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.errors import CheckpointError, WeightsError
from basicsr.utils.files import whole_file
from basicsr.version import __version__
from basicsr.weights.files import save_weights, weights_under
from basicsr.weights.plain_files import load_plain

logger = logging.getLogger(__name__)

STATE_KEYS: Mapping[str, type] = {
    'iter': int,
    'epoch': int,
    'consumed': int,
    'optimizers': list,
    'schedulers': list,
    'generators': list,
    'recipe': dict,
    'pair': str,
}
"""Required entries of a training state."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a network file and its training state.

    Args:
        iteration: training steps done.
        path: of the training state.
        params: weights by name.
        params_ema: EMA weights; None without EMA.
        state: the training state.
    """

    iteration: int
    path: Path
    params: dict[str, Tensor]
    params_ema: dict[str, Tensor] | None
    state: dict[str, Any]


class CheckpointFolder:
    """The folders ``models`` and ``training_states`` of an experiment.

    A checkpoint is the pair ``models/net_g_<iter>.pth`` and ``training_states/<iter>.state``, both with the same random
    ``pair`` number. Files of another run, or of an interrupted save, have different numbers.

    Args:
        experiment: folder of the experiment.
        keep: number of latest pairs to keep; None keeps all.
    """

    def __init__(self, experiment: Path, keep: int | None = None) -> None:
        self.models = experiment / 'models'
        self.states = experiment / 'training_states'
        self.keep = keep

    def network_file(self, iteration: int | str) -> Path:
        """Return the path of the network file of an iteration, or of 'latest' or 'best'."""
        return self.models / f'net_g_{iteration}.pth'

    def state_file(self, iteration: int) -> Path:
        """Return the path of the training state of an iteration."""
        return self.states / f'{iteration}.state'

    def save(self, iteration: int, net: nn.Module, about: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write a pair, the training state last; then delete the oldest pairs.

        Args:
            iteration: training steps done.
            net: the network.
            about: further entries of the network file (``params_ema``, ``options``, ...).
            state: the training state.

        Raises:
            CheckpointError: the disk is full or the folder is not writable; older pairs are not changed.
        """
        pair = secrets.token_hex(8)
        self.save_network(iteration, net, {**about, 'pair': pair})
        path = self.state_file(iteration)
        try:
            self.states.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                torch.save({**state, 'iter': iteration, 'pair': pair}, file)
        except (OSError, RuntimeError) as error:
            raise _not_saved(path, error) from error
        if self.keep is not None:
            for old in self.iterations()[self.keep :]:
                self.state_file(old).unlink(missing_ok=True)  # first: a network file alone is not a checkpoint
                self.network_file(old).unlink(missing_ok=True)

    def save_network(self, name: int | str, net: nn.Module, about: Mapping[str, Any]) -> None:
        """Write a network file without a training state, such as ``net_g_latest.pth``.

        Raises:
            CheckpointError: the disk is full or the folder is not writable.
        """
        path = self.network_file(name)
        try:
            self.models.mkdir(parents=True, exist_ok=True)
            save_weights(path, net, **about)
        except (OSError, RuntimeError) as error:
            raise _not_saved(path, error) from error

    def iterations(self) -> list[int]:
        """Return the iterations with a training state, latest first; ignore other files."""
        if not self.states.is_dir():
            return []
        names = [path.stem for path in self.states.glob('*.state') if path.is_file()]
        return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)

    def latest(self) -> Checkpoint | None:
        """Return the latest valid pair, and log invalid ones; None without a valid pair."""
        found = set(self.iterations())
        for path in self.models.glob('net_g_*.pth') if self.models.is_dir() else ():
            name = path.stem.removeprefix('net_g_')
            if name.isdigit() and int(name) not in found and int(name) > max(found, default=0):
                logger.warning('ignoring %s: it has no matching training state', path)
        for iteration in self.iterations():
            try:
                return read_checkpoint(self.state_file(iteration))
            except (CheckpointError, WeightsError) as error:
                logger.warning('ignoring an invalid checkpoint: %s', error)
        return None

    def set_aside_after(self, iteration: int) -> None:
        """Rename the training states of later iterations, when a training continues from an earlier one.

        Otherwise, resuming would find them, and they would replace new checkpoints when old ones are deleted. Their
        network files are kept.
        """
        for later in self.iterations():
            file = self.state_file(later)
            if later > iteration:
                file.replace(file.with_name(f'{file.name}.replaced'))
                logger.warning('renamed %s to *.replaced: the training continues from step %d', file, iteration)


def read_checkpoint(path: Path, network: bool = True) -> Checkpoint:
    """Read a training state and its network file (``../models/net_g_<iter>.pth``).

    Args:
        path: ``<iter>.state``.
        network: read the network file, too.

    Raises:
        CheckpointError: not a training state of this project, or the files are not a pair.
        WeightsError: a file is missing or damaged, or contains NaN, or anything but tensors and plain values.
    """
    content = load_plain(path)
    missing = [key for key in STATE_KEYS if not isinstance(content, Mapping) or key not in content]
    if missing:
        raise CheckpointError(
            f'{path} is not a training state of this project, missing entries: {", ".join(missing)}. To start from the '
            'weights of another project, set path.pretrain_network_g'
        )
    state = dict(content)
    wrong = [key for key, kind in STATE_KEYS.items() if not isinstance(state[key], kind)]
    if wrong:
        raise CheckpointError(f'{path} is not a training state of this project, wrong types: {", ".join(wrong)}')
    iteration = int(state['iter'])
    if not network:
        return Checkpoint(iteration, path, {}, None, state)
    file = CheckpointFolder(path.parent.parent).network_file(iteration)
    if not file.is_file():
        raise CheckpointError(f'{path}: its network file {file} is missing')
    net = load_plain(file)
    if not isinstance(net, Mapping) or net.get('pair') != state['pair']:
        raise CheckpointError(f'{path} and {file} do not belong together; restore both from the same run')
    params = weights_under(file, net, 'params').state
    ema = weights_under(file, net, 'params_ema').state if 'params_ema' in net else None
    return Checkpoint(iteration, path, params, ema, state)


def provenance() -> dict[str, Any]:
    """Return the versions and the git commit of the running program, as plain values."""
    versions = {'basicsr': __version__, 'torch': str(torch.__version__), 'python': platform.python_version()}
    return {'versions': versions, 'git_commit': _git_commit()}


def _git_commit() -> str | None:
    """Return the commit of this clone, with '+' if files were changed; None outside of a clone."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / '.git').exists():
        return None
    environment = {key: value for key, value in os.environ.items() if not key.startswith('GIT_')}
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603 - fixed arguments
                ['git', '-C', str(folder), *arguments],  # noqa: S607
                capture_output=True,
                text=True,
                check=True,
                timeout=30,
                env=environment,
            ).stdout.strip()
            for arguments in (('rev-parse', 'HEAD'), ('status', '--porcelain', '--untracked-files=no'))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ('+' if changes else '')


def _not_saved(path: Path, error: Exception) -> CheckpointError:
    causes: list[BaseException] = [error]
    while (before := causes[-1].__cause__ or causes[-1].__context__) is not None:  # torch hides the disk's error
        causes.append(before)
    named = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    reason = named[0] if named else str(error).split('\n')[0]
    return CheckpointError(f'cannot save {path} ({reason}); older checkpoints are not changed')
