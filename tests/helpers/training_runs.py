"""Small trainings for the tests: data, options, and processes of their own that may be killed."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

from basicsr.masks.files import write_label_map

PRELOADED = ['torch', 'tests.helpers.training_runs', 'basicsr.models', 'basicsr.evaluation.validation']
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(PRELOADED)

REGIONS: dict[str, Any] = {
    'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'mask_dropout': 0.5, 'enc_blk_nums': [1], 'dec_blk_nums': [1]
}  # fmt: skip


def write_pairs(folder: Path, count: int = 7, size: int = 24, growth: int = 0) -> dict[str, str]:
    """Pairs of PNG files with region masks; the keys of a data set that reads them.

    Args:
        folder: for them.
        count: number of pairs.
        size: width of the first pair; heights have four pixels more.
        growth: pixels by which each pair is larger than the one before; even.
    """
    rng = np.random.default_rng(0)
    for name in ('gt', 'lq', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        gt = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (size, size + 4))
        cv2.imwrite(str(folder / 'gt' / f'{index}.png'), gt)
        cv2.imwrite(str(folder / 'lq' / f'{index}.png'), cv2.blur(gt, (5, 1)))
        labels = rng.integers(1, 9, (1, 2, 2)).repeat((size + 4) // 2, 1).repeat(size // 2, 2)
        write_label_map(folder / 'masks' / f'{index}.png', labels.astype(np.int32))
        size += growth
    return {f'dataroot_{name}': str(folder / key) for name, key in (('gt', 'gt'), ('lq', 'lq'), ('mask', 'masks'))}


def options(roots: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A recipe of 8 steps; ``changes`` as ``train__ema_decay=0.9``."""
    content: dict[str, Any] = {
        'mode': 'default',
        'name': 'run',
        'manual_seed': 3,
        'datasets': {
            'train': {
                'name': 'small',
                'type': 'PairedImageGroupMaskDataset',
                **roots,
                'gt_size': 16,
                'batch_size_per_gpu': 4,
                'num_worker_per_gpu': 0,
            },
            'val': {'name': 'small-val', 'type': 'PairedImageGroupMaskDataset', **roots},
        },
        'network_g': dict(REGIONS),
        'train': {
            'total_iter': 8,
            'total_batch_size': 4,
            'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]},
            'scheduler': {'type': 'CosineAnnealingLR', 'T_max': 8, 'eta_min': 1e-7},
            'pixel_opt': {'type': 'PSNRLoss'},
        },
        'val': {'val_freq': 4, 'max_images': 3, 'metrics': {'psnr': {'type': 'psnr'}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 3, 'use_tb_logger': False},
    }
    for key, value in changes.items():
        *above, last = key.split('__')
        section = content
        for name in above:
            section = section.setdefault(name, {})
        section[last] = value
    return content


def write_options(folder: Path, content: dict[str, Any], name: str = 'run.yml') -> Path:
    """The option file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with the package's logger as it was afterwards."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        logging.getLogger('basicsr').setLevel(logging.NOTSET)


def train(folder: Path, content: dict[str, Any], *arguments: str) -> int:
    """Train in this process, in that folder; the exit code."""
    from basicsr.train import main

    path = write_options(folder, content)
    with inside(folder):
        return main(['-opt', str(path), *arguments])


def start(folder: Path, content: dict[str, Any], *arguments: str, prepare: Callable[[], None] | None = None) -> Any:
    """Train in a process of its own, whose output goes to ``output.txt``."""
    path = write_options(folder, content)
    return start_command('basicsr.train', folder, '-opt', str(path), *arguments, prepare=prepare)


def start_command(module: str, folder: Path, *arguments: str, prepare: Callable[[], None] | None = None) -> Any:
    """Run a command of the package in a process of its own, whose output goes to ``output.txt`` in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    process = CONTEXT.Process(target=_command, args=(module, folder, list(arguments), prepare, {}))
    process.start()
    return process


def start_ranks(
    folder: Path,
    content: dict[str, Any],
    world: int,
    *arguments: str,
    prepare: Callable[[], None] | None = None,
    **environment: str,
) -> list[Any]:
    """Train in several processes, as torchrun would start them; outputs go to ``output_<rank>.txt``."""
    path = write_options(folder, content)
    given = ['-opt', str(path), '--launcher', 'pytorch', *arguments]
    processes = [
        CONTEXT.Process(target=_command, args=('basicsr.train', folder, given, prepare, {**one, **environment}))
        for one in ranks(world)
    ]
    for process in processes:
        process.start()
    return processes


def ranks(world: int) -> list[dict[str, str]]:
    """torchrun's variables for each process."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    common = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'WORLD_SIZE': str(world)}
    return [{**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)} for rank in range(world)]


def call_on_ranks(function: Callable[..., None], world: int, *arguments: Any) -> None:
    """Call a function of this or another test module in several processes; all must end well."""
    processes = [CONTEXT.Process(target=_call, args=(function, arguments, e)) for e in ranks(world)]
    for process in processes:
        process.start()
    assert ends(processes) == [0] * world


def ends(processes: list[Any], timeout: float = 120) -> list[int]:
    """Exit codes; negative for signals. Processes that do not end are killed, and have none."""
    for process in processes:
        process.join(timeout)
    codes = [process.exitcode for process in processes]
    for process in processes:
        if process.exitcode is None:
            process.kill()
            process.join()
    return codes


def _call(function: Callable[..., None], arguments: Any, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    multiprocessing.set_start_method('fork', force=True)  # as in a command: workers end with their parent
    torch.set_num_threads(1)
    function(*arguments)


def _command(
    module: str,
    folder: Path,
    arguments: list[str],
    prepare: Callable[[], None] | None,
    environment: dict[str, str],
) -> None:
    os.environ.update(environment)
    multiprocessing.set_start_method('fork', force=True)  # as in a command: workers end with their parent
    torch.set_num_threads(1)
    name = f'output_{environment["RANK"]}.txt' if environment else 'output.txt'
    output = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = os.fdopen(1, 'w', buffering=1)
    sys.stderr = os.fdopen(2, 'w', buffering=1)
    os.chdir(folder)
    if prepare is not None:
        prepare()
    from basicsr.utils.console import run

    sys.argv = [module, *arguments]
    sys.exit(run(importlib.import_module(module).main))


def in_step(step: int, rank: int, action: Callable[[Any], None]) -> None:
    """Do something in one process while it is in that step."""
    from basicsr.models.image_restoration_model import ImageRestorationModel

    original = ImageRestorationModel.train_step

    def train_step(model, *batches):
        if model.iteration + 1 == step and model.processes.rank == rank:
            action(batches)
        return original(model, *batches)

    ImageRestorationModel.train_step = train_step


def killed_in_step_5() -> None:
    """Kill the process of rank 1 in step 5."""
    in_step(5, 1, lambda batches: os.kill(os.getpid(), signal.SIGKILL))


class KillAt:
    """Kills its process when it is about to give a file its name for the n-th time."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self) -> None:
        """Take the place of ``Path.replace``."""
        replace, left = Path.replace, [self.number]

        def replace_or_die(path: Path, target: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = replace_or_die  # type: ignore[method-assign, assignment]


def log_of(folder: Path, name: str = 'run') -> list[dict[str, Any]]:
    """The lines of a training's log, without what depends on the clock."""
    lines = (folder / 'experiments' / name / 'log' / f'{name}.jsonl').read_text().splitlines()
    clock = ('seconds', 'data_seconds')
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]


def result_of(folder: Path, iteration: int = 8, name: str = 'run') -> dict[str, Any]:
    """Everything in a checkpoint that a resumed training must share with an uninterrupted one, flat."""
    experiment = folder / 'experiments' / name
    files = (f'models/net_g_{iteration}.pth', f'training_states/{iteration}.state')
    network, state = (torch.load(experiment / file, weights_only=True) for file in files)
    network = {key: network[key] for key in ('params', 'params_ema', 'iter') if key in network}
    return dict(_flat({'network': network, 'state': {k: v for k, v in state.items() if k != 'pair'}}))


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """Names of what is not equal to the last bit."""
    names = [*first, *(name for name in second if name not in first)]
    return [name for name in names if not _same(first.get(name), second.get(name))]


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return type(first) is type(second) and first == second


def _flat(value: Any, above: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f'{above}.{key}')
    elif isinstance(value, (list, tuple)) and value:
        for index, inner in enumerate(value):
            yield from _flat(inner, f'{above}.{index}')
    else:
        yield above, value
