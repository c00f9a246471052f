"""A training step of SAM-Deblur, and its optimizer alone, against a direct implementation of the original's."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.training import build_optimizer
from basicsr.training.distributed import Processes
from benchmarks import transcriptions
from benchmarks.bench import Bench, emulated, flop_counter

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


def compare_steps(bench: Bench, precision: str, size: int, masks: int, rounds: int, target: str) -> None:
    """Compare whole steps, and the losses of the first one."""
    side = 128 if bench.quick else 256
    model, batch = recipe_model(precision, bench.device), batch_of(size, masks, bench.device, side)
    original = OriginalStep(model.net, batch, masks)
    losses = original(), model.train_step(batch).losses['l_pix']
    title = f'{size}×{side}×{side}, {masks} masks, {precision}, {torch.get_num_threads()} threads'
    dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
    case = f'{title} (losses {losses[0]:.4f}, {losses[1]:.4f})'
    bench.compare(case, original, lambda: model.train_step(batch), rounds, target, flops=True, dtype=dtype)


def operators(bench: Bench, size: int, masks: int, count: int = 12) -> str:
    """Return a table of the operators of a step: time, arithmetic, and the share of the measured rate they reach."""
    side = 128 if bench.quick else 256
    model, batch = recipe_model('fp32', bench.device), batch_of(size, masks, bench.device, side)
    model.train_step(batch)
    with flop_counter() as counter:
        model.train_step(batch)
    flops = {str(key).rsplit('.', 1)[-1]: value for key, value in counter.get_flop_counts()['Global'].items()}
    activities = [torch.profiler.ProfilerActivity.CPU]
    if bench.device.type == 'cuda':
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        model.train_step(batch)
        model.settle()
    found: dict[str, float] = {}
    for event in profile.key_averages():
        own = event.self_device_time_total if bench.device.type == 'cuda' else event.self_cpu_time_total
        name = event.key.removeprefix('aten::')
        found[_KINDS.get(name, name)] = found.get(_KINDS.get(name, name), 0.0) + own / 1e3
    total = sum(found.values())
    lines = [
        f'Operators of one step, {size}×{side}×{side}, fp32, {torch.get_num_threads()} threads ({total:.0f} ms)',
        '',
        '| operator | ms | share | GFLOP | share of the floor reached |',
        '|---|---|---|---|---|',
    ]
    for name, milliseconds in sorted(found.items(), key=lambda pair: -pair[1])[:count]:
        own_flops = sum(value for key, value in flops.items() if _KINDS.get(key, key) == name)
        reached = f'{own_flops / bench.rates["float32"] / milliseconds * 1e3:.0%}' if own_flops else ''
        numbers = f'{milliseconds:.1f} | {milliseconds / total:.0%} | {own_flops / 1e9:.1f} | {reached}'
        lines.append(f'| {name} | {numbers} |')
    return '\n'.join(lines)


_KINDS = {  # the kernels of an operator, under the name by which its arithmetic is counted
    'mkldnn_convolution': 'convolution', '_slow_conv2d_forward': 'convolution',
    '_slow_conv2d_backward': 'convolution_backward', 'mkldnn_convolution_backward': 'convolution_backward',
    'cudnn_convolution': 'convolution', '_conv_depthwise2d': 'convolution',
}  # fmt: skip


def run_step(bench: Bench) -> None:
    """A training step of SegNAFNet, width 32, with one and with two threads, and its operators."""
    size = 2 if bench.device.type == 'cpu' else 32
    rounds = 7 if bench.device.type == 'cuda' else 5
    threads = torch.get_num_threads()
    for number in (1, 2) if bench.device.type == 'cpu' and not bench.quick else (threads,):
        torch.set_num_threads(number)
        compare_steps(bench, 'fp32', size, 60, rounds, '≥ 1.5×')
        bench.table(operators(bench, size, 60))
    torch.set_num_threads(threads)
    if not bench.quick and not emulated():
        compare_steps(bench, 'bf16', size, 60, rounds, '≥ 2.2×')


def run_optimizer(bench: Bench) -> None:
    """The optimizers alone, with existing gradients."""
    model = recipe_model('fp32', bench.device)
    plain = copy.deepcopy(model.net)
    optimizer = loop_adamw(plain)
    for net in (model.net, plain):
        for parameter in net.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
    moved = 7 * sum(parameter.nbytes for parameter in plain.parameters())  # reads 4, writes 3
    bench.compare('AdamW, 17.1 M parameters', optimizer.step, model.optimizer.step, 15, '≥ 3×', moved=moved)
