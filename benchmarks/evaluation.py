"""Compare the time of the metrics on a 720×1280 pair with that of the network (SegNAFNetLocal, width 32, 60 masks).

python -m benchmarks.evaluation
"""

from __future__ import annotations

import platform
import statistics
import time

import numpy as np
import torch

from basicsr.archs import build_network
from basicsr.evaluation.scoring import record_of
from basicsr.inference.restoring import restore_image
from basicsr.metrics import Record, build_metric
from basicsr.metrics.arrays import unit_float
from basicsr.options import load_options
from benchmarks.map_unit import partition

OPTIONS = 'options/test/GoPro.yml'


def main(rounds: int = 3) -> None:
    """Print medians of wall time and CPU time of each part, and the fraction of the metrics."""
    options = load_options(OPTIONS)
    net = build_network(options.network_g).eval()
    metrics = [build_metric(block) for block in options.val.metrics.values()]
    rng = np.random.default_rng(0)
    gt = np.clip(np.cumsum(rng.normal(0, 6, (720, 1280, 3)), axis=1) + 128, 0, 255).astype(np.uint8)
    lq = np.clip(gt + rng.normal(0, 5, gt.shape), 0, 255).astype(np.uint8)
    batch = {key: torch.from_numpy(image.transpose(2, 0, 1).copy())[None] for key, image in (('lq', lq), ('gt', gt))}
    masks = partition(1, 60, 720, 1280)
    times: dict[str, list[tuple[float, float]]] = {'network': [], 'scores of the output': [], 'scores of the input': []}

    def timed(name: str, start: tuple[float, float]) -> None:
        times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))

    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        output = restore_image(net, batch['lq'].float() / 255, masks).image
        timed('network', start)
        start = time.perf_counter(), time.process_time()
        record = record_of(batch, output)
        for metric in metrics:
            metric(record)
        timed('scores of the output', start)
        start = time.perf_counter(), time.process_time()
        nothing = Record(output=unit_float(lq, 'lq'), output_uint8=lq, gt=gt)
        for metric in metrics:
            if 'lq' not in metric.reads:
                metric(nothing)
        timed('scores of the input', start)
    medians = {name: [statistics.median(side) for side in zip(*values, strict=True)] for name, values in times.items()}
    total = [sum(part[i] for part in medians.values()) for i in range(2)]
    print(f'{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n')
    print('| 720×1280 | wall, s | share | CPU, s | share |\n|---|---|---|---|---|')
    for name, (wall, cpu) in medians.items():
        print(f'| {name} | {wall:.2f} | {wall / total[0]:.0%} | {cpu:.2f} | {cpu / total[1]:.0%} |')


if __name__ == '__main__':
    main()
