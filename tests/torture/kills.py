"""Kill trainings, evaluations and mask making at random moments, run them again, and compare with undisturbed runs."""

from __future__ import annotations

import csv
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from tests.helpers import evaluations
from tests.helpers import training_runs as runs
from tests.torture.tally import Tally

MORE = ['torch.utils.tensorboard', 'basicsr.evaluation.testing', 'basicsr.masks.making', 'basicsr.train']
runs.CONTEXT.set_forkserver_preload([*runs.PRELOADED, *MORE])  # a killed process costs its work, not its imports

STEPS = 16
_WRITING = 0.7  # of the kills come after the first file, since starting takes most of the time of these short runs
EQUAL = 'the result equals that of an undisturbed run, bit for bit'


class Job:
    """A command that is killed and repeated until it is done.

    Args:
        name: of the command, for the table.
        start: starts it in a folder; returns the process.
        result: reads what must be equal, by name, from the folder of a finished run.
        work: folder for its runs.
    """

    def __init__(
        self, name: str, start: Callable[..., Any], result: Callable[[Path], dict[str, Any]], work: Path
    ) -> None:
        self.name, self.start, self._result, self._work = name, start, result, work
        assert runs.ends([start(work / 'whole')]) == [0], output(work / 'whole')
        self._expected, self._number = result(work / 'whole'), 0
        began = time.monotonic()  # the first process has waited for imports
        assert self.finish(work / 'again') == ''
        self.seconds = time.monotonic() - began
        """Of an undisturbed run."""

    def new_folder(self) -> Path:
        """Return the folder of the next run."""
        self._number += 1
        return self._work / str(self._number)

    def problem(self, folder: Path) -> str:
        """Return the difference between a finished run and the undisturbed one; empty if there is none."""
        found = runs.differences(self._result(folder), self._expected)
        left = [path.name for path in folder.rglob('*.part*')]
        if found or left:
            return f'{self.name} in {folder.name}: different: {", ".join(found[:5]) or "-"}; left: {left}'
        return ''

    def finish(self, folder: Path) -> str:
        """Run it until it is done; return what is wrong with the result, if anything."""
        code = runs.ends([self.start(folder)])
        return f'{self.name}: exit code {code}: {output(folder)[-300:]}' if code != [0] else self.problem(folder)


def output(folder: Path) -> str:
    """What the runs in a folder printed."""
    return '\n'.join(path.read_text() for path in sorted(folder.glob('output*.txt')))


def kill_often(job: Job, kills: int, rng: random.Random, tally: Tally) -> None:
    """Kill a job at random moments, as often as asked for, and compare each run that is done in the end."""
    left, open_kills, folder = kills, list[str](), job.new_folder()
    while left or open_kills:
        before = _files(folder)
        process = job.start(folder)
        if left:
            if rng.random() < _WRITING:
                _wait_for_a_file(process, folder, before)
                time.sleep(rng.uniform(0, job.seconds / 2))
            else:
                time.sleep(rng.uniform(0, job.seconds))
            children = _children(process.pid)
            process.kill()
        process.join(120)
        if process.exitcode == -signal.SIGKILL:
            left -= 1
            orphans = _outliving(children)
            open_kills.append(_moment(before, _files(folder)))
            if orphans:
                tally.add(job.name, open_kills.pop(), f'{job.name}: {orphans} worker processes live on')
            continue
        problem = job.problem(folder) if process.exitcode == 0 else ''
        if process.exitcode != 0:
            process.kill()
            problem = f'{job.name}: exit code {process.exitcode}: {output(folder)[-300:]}'
        for moment in open_kills:
            tally.add(job.name, moment, problem)
        open_kills, folder = [], job.new_folder()


def _wait_for_a_file(process: Any, folder: Path, before: dict[str, int]) -> None:
    """Wait until a process has written something, or has ended."""
    while process.exitcode is None and not _written(before, _files(folder)):
        time.sleep(0.005)


def _written(before: dict[str, int], after: dict[str, int]) -> list[str]:
    return [name for name, size in after.items() if before.get(name) != size and not name.endswith('output.txt')]


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob('*') if path.is_file() and path.exists()}


def _moment(before: dict[str, int], after: dict[str, int]) -> str:
    """Where a kill hit, by what it left."""
    if any('.part' in name and name not in before for name in after):
        return 'while it wrote a file'
    return 'after it had written' if _written(before, after) else 'before it wrote'


def _children(process: int) -> list[int]:
    try:
        return [int(one) for one in Path(f'/proc/{process}/task/{process}/children').read_text().split()]
    except OSError:
        return []


def _outliving(processes: list[int], seconds: float = 15) -> int:
    """How many processes live on."""
    end = time.monotonic() + seconds
    while (alive := sum(_lives(one) for one in processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return alive


def _lives(process: int) -> bool:
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


# --- the three jobs


def recipe(roots: dict[str, str], **more: Any) -> dict[str, Any]:
    """A short training with all that has a state: averages, accumulation, dropout of masks, workers, the best."""
    return runs.options(
        roots,
        **{
            'train__total_iter': STEPS,
            'train__scheduler__T_max': STEPS,
            'train__warmup_iter': 3,
            'train__ema_decay': 0.9,
            'train__precision': 'bf16',
            'datasets__train__batch_size_per_gpu': 2,
            'datasets__train__num_worker_per_gpu': 2,
            'logger__save_checkpoint_freq': 2,
            'logger__keep_checkpoints': 2,
            'logger__best_metric': 'psnr',
            'logger__use_tb_logger': True,
            'val__val_freq': 4,
            'val__save_img': True,
            **more,
        },
    )


def training(work: Path) -> Job:
    """A training on photos of several sizes."""
    content = recipe(runs.write_pairs(work / 'pairs', growth=2))
    return Job(
        'training',
        lambda folder, **more: runs.start(folder, content, '--auto_resume', **more),
        trained,
        work / 'training',
    )


def trained(folder: Path) -> dict[str, Any]:
    """Weights, averages and state of the last step, the best and the latest network, and the log."""
    found = {**runs.result_of(folder, STEPS), 'log': runs.log_of(folder)}
    for name in ('best', 'latest'):
        content = torch.load(folder / f'experiments/run/models/net_g_{name}.pth', weights_only=True)
        found |= {f'{name}.{key}.{part}': t for key in ('params', 'params_ema') for part, t in content[key].items()}
        found[f'{name}.iter'] = content['iter']
    return found


def evaluation(work: Path) -> Job:
    """An evaluation of a network with masks on twelve photos."""
    data, names = work / 'evaluated', [f'{index:02}' for index in range(12)]
    evaluations.write_pairs(data, names)
    evaluations.write_network(data / 'network.pth', evaluations.NETWORK)
    roots = {'gt': 'target', 'lq': 'input', 'mask': 'grouped_masks'}
    content = {
        'mode': 'default',
        'name': 'run',
        'network_g': evaluations.NETWORK,
        'datasets': {
            'test': {
                'name': 'small',
                'type': 'PairedImageGroupMaskDataset',
                **{f'dataroot_{key}': str(data / name) for key, name in roots.items()},
            }
        },
        'path': {'pretrain_network_g': str(data / 'network.pth')},
        'val': {'metrics': {'psnr': {'type': 'psnr'}}},
    }
    path = data / 'test.yml'
    path.write_text(yaml.safe_dump(content))
    return Job(
        'evaluation',
        lambda folder, **more: runs.start_command('basicsr.test', folder, '-opt', str(path), **more),
        evaluated,
        work / 'evaluation',
    )


def evaluated(folder: Path) -> dict[str, Any]:
    """All scores and the names and contents of all images of a report."""
    results = folder / 'results' / 'run'
    found: dict[str, Any] = {'files': sorted(path.relative_to(results).as_posix() for path in results.rglob('*'))}
    for path in results.glob('*.csv'):
        with path.open(newline='') as file:
            found |= {
                f'{path.name}.{row["name"]}': {k: v for k, v in row.items() if k != 'seconds'}
                for row in csv.DictReader(file)
            }
    for path in results.rglob('*'):
        if path.suffix in ('.png', '.jpg', '.webp'):
            found[path.relative_to(results).as_posix()] = path.read_bytes()
    found['averages'] = json.loads((results / 'small.json').read_text())['averages']
    return found


def mask_making(work: Path) -> Job:
    """Region masks of twelve photos."""
    photos = work / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(12):
        blocks = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(blocks).resize((160, 120), Image.Resampling.NEAREST).save(photos / f'{index:02}.png')
    arguments = '--input', str(photos), '--output', 'masks'
    return Job(
        'mask making',
        lambda folder, **more: runs.start_command('basicsr.make_masks', folder, *arguments, **more),
        lambda folder: {path.name: path.read_bytes() for path in (folder / 'masks').iterdir()},
        work / 'masks',
    )


JOBS = (training, evaluation, mask_making)


def torture(work: Path, kills: int, of_others: int, rng: random.Random) -> list[Tally]:
    """Kill a training, and as often as asked for an evaluation and the making of masks."""
    tallies = []
    for make, count in zip(JOBS, (kills, of_others, of_others), strict=True):
        job = make(work)
        tally = Tally(f'SIGKILL at random moments: {job.name}', EQUAL)
        kill_often(job, count, rng, tally)
        tallies.append(tally)
    return tallies
