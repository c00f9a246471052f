"""Train and test the runs of the experiment; each leaves one JSON file."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from basicsr.archs import build_network
from basicsr.data import build_dataset, collate, to_floats
from basicsr.inference.restoring import restore_image
from basicsr.losses import build_loss
from basicsr.metrics import calculate_psnr
from basicsr.training.checkpoints import provenance
from basicsr.utils.errors import BasicsrError
from basicsr.utils.files import write_whole
from basicsr.weights.files import load_weights, read_weights, save_weights
from benchmarks.prior.arms import ARMS, BATCH, Arm, Run, dataset_block, first_weights, network_block, options_of
from benchmarks.prior.preparing import SETS, scenes_of

Scores = dict[str, dict[str, list[float]]]
"""PSNR in dB by set and scene."""

BLURRED, SECONDS = 'blurred.json', 'seconds.json'
"""Files beside the results of runs: scores of the blurred images, seconds of a training step of each arm."""

_TRAINING_IMAGES = 320
_LAST = 0.05


def result_file(results: Path, run: Run) -> Path:
    """Return the file of a run's result."""
    return results / f'{run.name}.json'


def complete(run: Run, work: Path, results: Path, steps: int) -> Path:
    """Train and test a run, and write its result; a result that exists is kept, a training continues.

    Args:
        run: the run.
        work: folder with data/, and of experiments/.
        results: folder of the results.
        steps: number of training steps.

    Returns:
        the file of the result.

    Raises:
        BasicsrError: the training failed or was stopped, or there is one with other options, such as a trial's.
    """
    file = result_file(results, run)
    if file.is_file():
        return file
    options = options_of(run, work / 'data', _start(run, work), steps)
    path, experiment = work / 'options' / f'{run.name}.yml', work / 'experiments' / run.name
    content = yaml.safe_dump(options, sort_keys=False).encode()
    if experiment.is_dir() and (not path.is_file() or path.read_bytes() != content):
        raise BasicsrError(f'{experiment}: was trained with other options than {run.name} has now; remove this folder')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    weights = experiment / 'models' / 'net_g_latest.pth'
    cpu = None
    if not weights.is_file():
        cpu = train(path, work)
    log = [json.loads(line) for line in (weights.parents[1] / 'log' / f'{run.name}.jsonl').read_text().splitlines()]
    net = build_network(network_block(run.arm))
    load_weights(net, read_weights(weights))
    result = {
        'arm': run.arm.number,
        'title': run.arm.title,
        'length': run.length,
        'seed': run.seed,
        'steps': steps,
        **outcome(net.eval(), run.arm, work / 'data'),
        'last_training_loss': _rounded(
            statistics.fmean(line['l_pix'] for line in log[-max(1, round(_LAST * len(log))) :])
        ),
        'wall_seconds': round(sum(line['seconds'] for line in log) / len(log) * steps, 1),
        'cpu_seconds': cpu,
        **provenance(),
        'options': {key: value for key, value in options.items() if key not in ('datasets', 'path')},
    }
    results.mkdir(parents=True, exist_ok=True)
    write_whole(file, (compact_json(result) + '\n').encode())
    return file


def train(options: Path, work: Path) -> float | None:
    """Run ``basicsr/train.py`` in the work folder; return seconds of the CPU, None if it continued an earlier training.

    Raises:
        BasicsrError: it failed, or a signal stopped it.
    """
    continued = (work / 'experiments' / options.stem).is_dir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, '-m', 'basicsr.train', '-opt', str(options.resolve()), '--auto_resume']
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, 'PYTHONPATH': root, 'OMP_NUM_THREADS': '1'}
    code = subprocess.run(command, cwd=work, env=environment, check=False).returncode
    if code:
        raise BasicsrError(f'{options.stem}: training ended with exit code {code}; the same command continues it')
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return None if continued else round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)


def outcome(net: torch.nn.Module | None, arm: Arm, data: Path) -> dict[str, Any]:
    """Test a network on all sets.

    Args:
        net: in evaluation mode; None stands for the blurred images.
        arm: of the network.
        data: folder of the sets.

    Returns:
        ``scores`` by set and scene, and the losses of training and test images of the same size and motion, without
        mask dropout.
    """
    scores: Scores = {}
    _, training_loss = tested(net, arm, data / 'train', _TRAINING_IMAGES)
    losses = {'training_loss': training_loss}
    for name in SETS:
        if (data / name).is_dir():
            scores[name], loss = tested(net, arm, data / name)
            losses |= {'test_loss': loss} if name == 'same' else {}
    return {'scores': scores, **losses}


def tested(
    net: torch.nn.Module | None, arm: Arm, folder: Path, most: int | None = None
) -> tuple[dict[str, list[float]], float]:
    """Return the PSNR of the images of a set by scene, rounded to 8 bits, and the mean loss of their float outputs.

    Args:
        net: in evaluation mode; None scores the blurred images.
        arm: of the network.
        folder: of the set.
        most: number of images to use, evenly spread; None uses all.
    """
    dataset: Any = build_dataset(dataset_block(arm, folder), phase='test')
    scenes, loss = scenes_of(folder), build_loss({'type': 'PSNRLoss'})
    scores: dict[str, list[float]] = defaultdict(list)
    losses = []
    chosen = range(len(dataset)) if most is None else np.linspace(0, len(dataset) - 1, most).round().astype(int)
    for index in chosen:
        item = dataset[int(index)]
        batch = to_floats(collate([item]), 'cpu', gray_masks=arm.prior == 'gray')
        lq, masks = batch['lq'], batch.get('masks')
        if arm.prior == 'gray' and masks is not None:
            lq, masks = torch.cat([lq, masks], 1), None
        image = batch['lq'] if net is None else restore_image(net, lq, masks, tile=None).image
        losses.append(float(loss(image, batch['gt'])))
        shown = (image[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        psnr = calculate_psnr(shown, item['gt'].permute(1, 2, 0).numpy(), 0)
        scores[scenes[Path(item['lq_path']).stem]].append(_rounded(psnr))
    return dict(scores), _rounded(statistics.fmean(losses))


def write_blurred(work: Path, results: Path) -> None:
    """Write the scores and losses of the blurred images, unless they exist."""
    file, data = results / BLURRED, work / 'data'
    if not file.is_file():
        results.mkdir(parents=True, exist_ok=True)
        content = {'title': 'blurred images', **outcome(None, ARMS[1], data)}
        write_whole(file, (compact_json(content) + '\n').encode())


def seconds_per_step(arms: Sequence[Arm], work: Path, steps: int = 60) -> dict[int, float]:
    """Measure training steps of arms in turn, so that changes of the machine's speed affect all of them.

    Returns:
        by number of the arm: seconds of the CPU of a step, with loading, the lower quartile.
    """
    from basicsr.models import build_model
    from basicsr.options import load_options

    times: dict[int, list[float]] = defaultdict(list)
    running = {}
    for arm in arms:
        run = Run(arm, arm.lengths[0], 0)
        path = work / 'options' / 'measured.yml'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(options_of(run, work / 'data', _start(run, work), steps)), encoding='utf-8')
        options = load_options(path, (), 'train')
        dataset: Any = build_dataset(options.for_training()[1], phase='train', seed=0)
        running[arm.number] = build_model(options), dataset
    for step in range(steps):
        for number, (model, dataset) in running.items():
            start = time.process_time()
            items = [dataset[(BATCH * step + index) % len(dataset)] for index in range(BATCH)]
            batch = to_floats(collate(items, model.contract.mask_dropout_in_data), 'cpu', model.prior == 'gray')
            _ = model.train_step(batch).losses
            times[number].append(time.process_time() - start)
    return {number: float(np.quantile(own, 0.25)) for number, own in times.items()}


def _start(run: Run, work: Path) -> Path:
    path = work / 'starts' / f'{run.arm.prior}-{run.arm.mask_value:.3f}-seed{run.seed}.pth'
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(path, first_weights(run.arm, run.seed))
    return path.resolve()


def compact_json(content: Mapping[str, Any]) -> str:
    """Return JSON with one line per entry, and one per set of scores."""
    lines = []
    for key, value in content.items():
        text = json.dumps(value)
        if key == 'scores':
            text = '{\n' + ',\n'.join(f'  {json.dumps(k)}: {json.dumps(v)}' for k, v in value.items()) + '\n }'
        lines.append(f' {json.dumps(key)}: {text}')
    return '{\n' + ',\n'.join(lines) + '\n}'


def _rounded(value: float) -> float:
    return round(float(value), 4)
