"""Compare a training step of SAM-Deblur, and its optimizer alone, with a direct implementation of the original's.

python -m benchmarks.training_step

On a GPU: --device cuda --batch 32 (it/s, peak memory and, with --loop, the share of time spent waiting for data).
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.data import build_dataset
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.training import build_optimizer
from basicsr.training.batches import TrainingData
from basicsr.training.batching import share_batch
from basicsr.training.distributed import Processes
from basicsr.utils.loader_options import LoaderOptions
from basicsr.utils.measure import peak_memory
from benchmarks import transcriptions
from benchmarks.timing import header, paired, row

OPTIONS = Path(__file__).resolve().parents[1] / 'options' / 'train' / 'GoPro' / 'MAP.yml'


def recipe_model(precision: str, device: torch.device) -> Any:
    """Return the published network and recipe, with nonzero residual scales as after some training."""
    torch.manual_seed(0)
    model = build_model(load_options(OPTIONS, [f'train:precision={precision}']), processes=Processes(device=device))
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name.endswith(('beta', 'gamma')):
                parameter.normal_(0, 0.3)
    return model


def batch_of(size: int, masks: int, device: torch.device, side: int = 256) -> dict[str, Tensor]:
    """Return random images and label maps of ``masks`` vertical stripes."""
    stripes = torch.arange(side, device=device).mul(masks).div(side, rounding_mode='floor') + 1
    labels = stripes.view(1, 1, 1, side).expand(size, 1, side, side).to(torch.uint8).contiguous()
    lq, gt = torch.rand(2, size, 3, side, side, device=device)
    return {'lq': lq, 'gt': gt, 'masks': labels}


class OriginalStep:
    """The original's step: eager, fp32, (B, C, H, W), mask stacks, 0·sum of all parameters, for-loop AdamW."""

    def __init__(self, net: Any, batch: dict[str, Tensor], masks: int) -> None:
        self.net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
        self.lq, self.gt = batch['lq'], batch['gt']
        ids = torch.arange(1, masks + 1, device=self.lq.device).view(-1, 1, 1, 1)
        self.stacks = [(labels[None] == ids).float() for labels in batch['masks']]
        self.optimizer = loop_adamw(self.net)

    def __call__(self) -> float:
        """Run one step; return its loss."""
        self.optimizer.zero_grad()
        restored = transcriptions.sam_deblur(
            self.net, lambda x: transcriptions.nafnet(self.net, x), self.lq, self.stacks
        )
        error = ((restored - self.gt) ** 2).mean((1, 2, 3))
        loss = 10 / torch.log(torch.tensor(10.0)) * torch.log(error + 1e-8).mean()
        (loss + 0.0 * sum(p.sum() for p in self.net.parameters())).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 0.01, foreach=False)
        self.optimizer.step()
        return loss.item()


def loop_adamw(net: torch.nn.Module) -> torch.optim.Optimizer:
    """AdamW with a loop over the parameters."""
    block = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]}
    return build_optimizer(net, {**block, 'foreach': False, 'fused': False})


def waiting(run: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    """Return a function that waits until the device has finished."""

    def waited() -> Any:
        result = run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        return result

    return waited


def compare_steps(precision: str, size: int, masks: int, device: torch.device, rounds: int, target: str) -> None:
    """Compare whole steps, and the losses of the first one."""
    model, batch = recipe_model(precision, device), batch_of(size, masks, device)
    original = OriginalStep(model.net, batch, masks)
    losses = original(), model.train_step(batch).losses['l_pix']
    sides = {
        'transcription': waiting(original, device),
        'ours': waiting(lambda: model.train_step(batch), device),
    }
    times = paired(sides, rounds)
    title = f'training step, {size}×256×256, {masks} masks, {precision} (losses {losses[0]:.4f}, {losses[1]:.4f})'
    row(title, times, target)
    if device.type == 'cuda':
        _, memory = peak_memory(sides['ours'], device)
        print(f'{1 / times["ours"].wall:.1f} it/s, {memory:.0f} MiB beyond weights and optimizer')


def compare_optimizers(device: torch.device, rounds: int) -> None:
    """Compare the optimizers alone, with existing gradients."""
    model = recipe_model('fp32', device)
    plain = copy.deepcopy(model.net)
    optimizer = loop_adamw(plain)
    for net in (model.net, plain):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
    sides = {'transcription': waiting(optimizer.step, device), 'ours': waiting(model.optimizer.step, device)}
    row('optimizer step, 17.1 M parameters', paired(sides, rounds), '≥ 3×')


def measure_loop(size: int, precision: str, device: torch.device, steps: int = 100) -> None:
    """Train on synthetic images, and print the fraction of time spent waiting for data."""
    model = recipe_model(precision, device)
    block = {'type': 'SyntheticBlurDataset', 'length': size * steps, 'gt_size': 256}
    mode: Any = 'cuda' if device.type == 'cuda' else None
    opt = LoaderOptions(num_worker_per_gpu=14, pin_memory=True, prefetch_mode=mode)
    data = TrainingData(
        build_dataset(block, phase='train'), opt, share_batch(size, size, 1), Processes(device=device), 0
    )
    waited, begin = 0.0, time.perf_counter()
    stream = data.steps()
    for number in range(steps):
        start = time.perf_counter()
        batches = next(stream)
        if number == 9:  # workers and kernels have started
            waited, begin = 0.0, time.perf_counter()
        elif number > 9:
            waited += time.perf_counter() - start
        model.train_step(*batches)
    seconds = time.perf_counter() - begin
    print(f'loop: {(steps - 9) / seconds:.2f} it/s, {100 * waited / seconds:.1f} % of the time waiting for data')


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    parser.add_argument('--batch', type=int, default=2, help='batch size (default: 2)')
    parser.add_argument('--masks', type=int, default=60, help='regions per image (default: 60)')
    parser.add_argument('--rounds', type=int, default=7, help='timed rounds (default: 7)')
    parser.add_argument('--loop', action='store_true', help='also measure a training loop on synthetic data')
    args = parser.parse_args()
    device = torch.device(args.device)
    header('Training step of SegNAFNet, width 32')
    targets = {'fp32': '≥ 1.5×', 'bf16': '≥ 2.2×' if device.type == 'cpu' else '≥ 4×'}
    for precision, target in targets.items():
        compare_steps(precision, args.batch, args.masks, device, args.rounds, target)
    compare_optimizers(device, args.rounds)
    if args.loop:
        measure_loop(args.batch, 'bf16', device)


if __name__ == '__main__':
    main()
