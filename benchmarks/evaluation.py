"""Time of the metrics on a 720×1280 pair, compared with that of the network (SegNAFNetLocal, width 32, 60 masks)."""

from __future__ import annotations

import numpy as np
import torch

from basicsr.archs import build_network
from basicsr.evaluation.scoring import record_of
from basicsr.images.files import tensor2img
from basicsr.inference.restoring import restore_image
from basicsr.metrics import build_metric
from basicsr.options import load_options
from benchmarks.bench import Bench
from benchmarks.map_unit import partition

OPTIONS = 'options/test/GoPro.yml'


def run_evaluation(bench: Bench) -> None:
    """The network, rounding, and the metrics of the published table, each against the network."""
    options = load_options(OPTIONS)
    net = build_network(options.network_g).eval().to(bench.device)
    metrics = [build_metric(block) for block in options.val.metrics.values()]
    height, width = (256, 384) if bench.quick else (720, 1280)
    rng = np.random.default_rng(0)
    gt = np.clip(np.cumsum(rng.normal(0, 6, (height, width, 3)), axis=1) + 128, 0, 255).astype(np.uint8)
    lq = np.clip(gt + rng.normal(0, 5, gt.shape), 0, 255).astype(np.uint8)
    batch = {key: torch.from_numpy(image.transpose(2, 0, 1).copy())[None] for key, image in (('lq', lq), ('gt', gt))}
    masks, floats = partition(1, 60, height, width), batch['lq'].float().to(bench.device) / 255

    def restore() -> torch.Tensor:
        return restore_image(net, floats, masks).image

    output = restore()

    def score() -> None:
        record = record_of(batch, output, device=str(bench.device))
        for metric in metrics:
            metric(record)

    rounds = 1 if bench.quick else 3
    bench.compare(f'metrics of {height}×{width} (here), against the network (plain)', restore, score, rounds)
    bench.compare(
        'output to the host: rounded on the device, against float32 rounded there',
        lambda: tensor2img(output.float().cpu(), rgb2bgr=False), lambda: record_of(batch, output), 7,
        moved=5 * output.numel(),
    )  # fmt: skip
