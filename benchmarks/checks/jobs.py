"""Whole trainings: resuming, several processes, failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.checks.running import CheckFailed, Setting, check, require

ROOT = Path(__file__).resolve().parents[2]
_CHANGES = (
    'name=run', 'manual_seed=7', 'train:deterministic=true', 'train:ema_decay=0.9', 'val:val_freq=1000000',
    'val:validate_first=false', 'logger:print_freq=1', 'logger:save_checkpoint_freq=3', 'logger:use_tb_logger=false',
    'datasets:train:length=64', 'datasets:train:gt_size=32', 'train:total_batch_size=4',
    'network_g={type: SegNAFNet, width: 8, enc_blk_nums: [1, 1], dec_blk_nums: [1, 1], mask_dropout: 0.5}',
)  # fmt: skip


def command(
    setting: Setting,
    steps: int,
    *more: str,
    launcher: tuple[str, ...] = (),
    cpu: bool = False,
    script: str = 'basicsr/train.py',
) -> list[str]:
    """Return the command of a short training on synthetic images."""
    on_cpu = ['num_gpu=0'] if cpu or setting.device.type == 'cpu' else []
    force = [*_CHANGES, f'train:total_iter={steps}', *on_cpu, *more]
    start = [sys.executable, *launcher, str(ROOT / script)]
    options = ['-opt', 'Synthetic/small', '--force_yml', *force, '--auto_resume']
    return [*start, *options, *(['--launcher', 'pytorch'] if launcher else [])]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of trainings; cuBLAS needs a setting for deterministic algorithms."""
    return {**os.environ, 'CUBLAS_WORKSPACE_CONFIG': ':4096:8', 'OMP_NUM_THREADS': '1', 'PYTHONUNBUFFERED': '1', **more}


def run(setting: Setting, folder: Path, words: list[str]) -> int:
    """Run a command in a folder; its output goes to ``output.txt``.

    Raises:
        CheckFailed: it takes more than four minutes, or than the time that is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limit = setting.seconds_left(240)
    with (folder / 'output.txt').open('a') as output:
        try:
            done = subprocess.run(words, cwd=folder, env=environment(), stdout=output, stderr=output, timeout=limit)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f'a training of a few steps did not end within {limit:.0f} s') from None
    return done.returncode


def losses_of(folder: Path) -> list[float]:
    """Return the losses in the log."""
    (path,) = (folder / 'experiments' / 'run' / 'log').glob('*.jsonl')
    return [line['l_pix'] for line in map(json.loads, path.read_text().splitlines()) if 'l_pix' in line]


def require_success(code: int, folder: Path, wanted: int = 0) -> None:
    """Check the exit code of a command whose output is in the folder.

    Raises:
        CheckFailed: another exit code.
    """
    if code != wanted:
        tail = (folder / 'output.txt').read_text().strip().splitlines()[-3:]
        raise CheckFailed(f'exit code {code} instead of {wanted}: {" | ".join(tail)}')


def _flat(value: Any, place: str = '') -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: one for name, part in value.items() for key, one in _flat(part, f'{place}.{name}').items()}
    if isinstance(value, (list, tuple)):
        return {key: one for index, part in enumerate(value) for key, one in _flat(part, f'{place}.{index}').items()}
    return {place: value}


@check(7, 'resuming')
def resuming(setting: Setting) -> str:
    """Six steps are the same bits as three and three more, with EMA and different numbers of workers."""
    whole, parts = setting.folder / 'whole', setting.folder / 'parts'
    require_success(run(setting, whole, command(setting, 6, 'datasets:train:num_worker_per_gpu=4')), whole)
    shutil.copytree(whole / 'experiments', parts / 'experiments')
    for path in (parts / 'experiments' / 'run').rglob('*'):
        if path.stem in ('6', 'net_g_6', 'net_g_latest'):
            path.unlink()
    require_success(run(setting, parts, command(setting, 6, 'datasets:train:num_worker_per_gpu=2')), parts)
    compared = 0
    for name in ('models/net_g_6.pth', 'training_states/6.state'):
        one, two = (
            _flat(torch.load(folder / 'experiments' / 'run' / name, weights_only=True)) for folder in (whole, parts)
        )
        for key, value in one.items():
            if torch.is_tensor(value):
                compared += 1
                if not torch.equal(value, two[key]):
                    raise CheckFailed(f'{name}: {key} differs')
    if losses_of(whole) != losses_of(parts):
        raise CheckFailed('the losses in the log differ')
    return f'{compared} tensors bit-equal'


def torchrun(count: int) -> tuple[str, ...]:
    """Return the words that start several processes."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return (
        '-m',
        'torch.distributed.run',
        f'--nproc_per_node={count}',
        '--master_addr=127.0.0.1',
        f'--master_port={port}',
    )


@check(8, 'several processes')
def processes(setting: Setting) -> str:
    """torchrun with one and two processes trains as one process without it; each uses its own GPU only."""
    alone = setting.folder / 'whole'
    if not (alone / 'experiments').is_dir():
        require_success(run(setting, alone, command(setting, 6)), alone)
    expected, texts = losses_of(alone), []
    gpus = torch.cuda.device_count() if setting.device.type == 'cuda' else 2
    for count in (1, 2):
        if count > gpus:
            setting.warn('only one GPU: two processes were not tried')
            continue
        folder = setting.folder / f'of{count}'
        words = command(setting, 6, launcher=torchrun(count), script='benchmarks/checks/contexts.py')
        require_success(run(setting, folder, words), folder)
        require_own_gpus(folder, count)
        found = losses_of(folder)
        worst = max(abs(a / b - 1) for a, b in zip(found, expected, strict=True))
        texts.append(require(worst, 1e-4, f'{count}: difference of the loss'))
    return ', '.join(texts)


def require_own_gpus(folder: Path, count: int) -> None:
    """Check that no process of a training has a context on the GPU of another one.

    Args:
        folder: with the files of :mod:`benchmarks.checks.contexts`.
        count: number of processes.

    Raises:
        CheckFailed: one has.
    """
    for rank in range(count):
        used = json.loads((folder / f'contexts{rank}.json').read_text())
        if set(used) - {rank}:
            raise CheckFailed(f'process {rank} of {count} has contexts on the GPUs {used}, not only on its own')


@check(9, 'failures')
def failures(setting: Setting) -> str:
    """A killed process ends the others within 25 seconds; TERM to torchrun saves a checkpoint."""
    cpu = setting.device.type == 'cpu' or torch.cuda.device_count() < 2  # two processes need two GPUs
    folder = setting.folder / 'killed'
    folder.mkdir(parents=True)
    port = torchrun(2)[-1].split('=')[1]
    ranks = []
    for rank in (0, 1):
        own = {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1'}
        words = [*command(setting, 100000, cpu=cpu), '--launcher', 'pytorch']
        output = (folder / f'output{rank or ""}.txt').open('w')
        ranks.append(
            subprocess.Popen(words, cwd=folder, env=environment(**own, MASTER_PORT=port), stdout=output, stderr=output)
        )
    try:
        _wait_for(setting, folder / 'experiments/run/models/net_g_3.pth', ranks[0])
        ranks[1].kill()
        start = time.perf_counter()
        code = ranks[0].wait(60)
        seconds = time.perf_counter() - start
    finally:
        for process in ranks:
            process.kill()
    require_success(code, folder, 4)
    text = require(seconds, 25, 'seconds until the other process ended')
    folder = setting.folder / 'stopped'
    folder.mkdir(parents=True)
    with (folder / 'output.txt').open('w') as output:
        words = command(setting, 100000, launcher=torchrun(1))
        job = subprocess.Popen(words, cwd=folder, env=environment(), stdout=output, stderr=output)
    try:
        _wait_for(setting, folder / 'experiments/run/models/net_g_3.pth', job)
        job.send_signal(signal.SIGTERM)
        job.wait(60)
    finally:
        job.kill()
    saved = [int(path.stem) for path in (folder / 'experiments/run/training_states').glob('*.state')]
    if not saved or max(saved) <= 3 or 'stopped by' not in (folder / 'output.txt').read_text():
        raise CheckFailed(f'TERM to torchrun saved no checkpoint: {sorted(saved)}')
    return f'{text}; TERM saved step {max(saved)}'


def _wait_for(setting: Setting, path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + setting.seconds_left(120)
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise CheckFailed(f'{path.name} did not appear; exit code {process.poll()}')
        time.sleep(0.1)
