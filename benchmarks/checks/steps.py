"""Training steps: precisions, bad batches, accumulation, loaders, speed, compilation."""

from __future__ import annotations

import copy
import math
import time
from typing import Any
from unittest.mock import patch

import torch

from basicsr.data import build_dataloader, build_dataset, prefetch
from basicsr.data.training_masks import drop_in_data
from basicsr.models import build_model
from basicsr.models.step_result import StepResult
from basicsr.options import load_options
from basicsr.training.batches import TrainingData
from basicsr.training.batching import share_batch
from basicsr.training.distributed import Processes
from basicsr.training.stages import Stage
from basicsr.utils.device import fast_bfloat16, free_memory, is_out_of_memory
from basicsr.utils.loader_options import LoaderOptions
from basicsr.utils.measure import peak_memory
from benchmarks.checks.running import CheckFailed, Setting, Skipped, check, require
from benchmarks.training_step import OPTIONS, OriginalStep, batch_of

_SECONDS = 15  # of the steps of one measurement, at most
_SMALL = 'network_g={type: SegNAFNet, width: 8, enc_blk_nums: [1, 1], dec_blk_nums: [1, 1], mask_dropout: 0.5}'


def model_on(device: torch.device, small: bool = True, **train: Any) -> Any:
    """Return the published recipe (with a small network) and random residual scales."""
    torch.manual_seed(0)
    changes = [f'train:{key}={value}' for key, value in train.items()]
    options = load_options(OPTIONS, [*([_SMALL] if small else []), *changes])
    model = build_model(options, processes=Processes(device=device))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.net.named_parameters():
            if name.endswith(('beta', 'gamma')):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def batch_on(device: torch.device, size: int, side: int, masks: int = 20) -> dict[str, Any]:
    """Return a batch for training; half of the masks are dropped already, as by a loader."""
    torch.manual_seed(3)
    batch: dict[str, Any] = batch_of(size, masks, torch.device('cpu'), side)
    batch['masks'] = drop_in_data(
        batch['masks'], torch.arange(size), 0.5, [f'image {number}' for number in range(size)]
    )
    moved = {key: value.to(device) for key, value in batch.items()}
    return {**moved, 'masks_dropped': [True] * size}


@check(5, 'training steps')
def steps(setting: Setting) -> str:
    """Losses against the CPU; fp16 overflows, bad batches, gradient accumulation."""
    device, side = setting.device, 32 if setting.tiny else 128
    cpu, texts = torch.device('cpu'), []
    here = model_on(cpu)
    expected = [here.train_step(batch_on(cpu, 4, side)).losses['l_pix'] for _ in range(3)]
    for precision, limit in (('fp32', 1e-4), ('bf16', 1e-2), ('fp16', 1e-2)):
        if precision == 'bf16' and not fast_bfloat16(device):
            continue
        model = model_on(device, precision=precision)
        if precision == 'fp16':
            model.arithmetic.scale.fill_(128.0)
        found = [model.train_step(batch_on(device, 4, side)).losses['l_pix'] for _ in range(3)]
        texts.append(require(max(abs(a / b - 1) for a, b in zip(found, expected, strict=True)), limit, precision))
    model = model_on(device, precision='fp16')
    model.arithmetic.scale.fill_(2.0**40)
    before = copy.deepcopy(model.net.state_dict())
    first = model.train_step(batch_on(device, 2, side))
    if first.problem is None or float(model.arithmetic.scale) != 2.0**39:
        raise CheckFailed('fp16 did not overflow at the loss scale 2^40, or did not halve it')
    bad = batch_on(device, 2, side)
    bad['gt'][0] = math.nan
    skipped = model.train_step(bad)
    model.settle()
    same = all(torch.equal(value, before[key]) for key, value in model.net.state_dict().items())
    if skipped.problem is None or not same or model.bad_steps != 1:
        raise CheckFailed('a batch with NaN changed the weights, or was not skipped')
    batch = batch_on(device, 8, side)
    whole = model_on(device).train_step(batch)
    parts = [{key: value[first : first + 2] for key, value in batch.items()} for first in range(0, 8, 2)]
    summed = model_on(device).train_step(*parts)
    texts.append(require(abs(summed.grad_norm / whole.grad_norm - 1), 1e-3, 'gradient of 4 × 2 against 1 × 8'))
    return ', '.join(texts) + ', overflow and NaN skipped'


@check(6, 'loader')
def loader(setting: Setting) -> str:
    """All ways to copy batches to the device give the same."""
    block = {'type': 'SyntheticBlurDataset', 'length': 20 if setting.tiny else 100, 'gt_size': 32}
    modes: list[Any] = ['cpu', None] + (['cuda'] if setting.device.type == 'cuda' else [])
    sides = []
    for mode in modes:
        for pinned in (False, True) if mode != 'cuda' else (True,):
            options = {'batch_size_per_gpu': 2, 'num_worker_per_gpu': 2, 'pin_memory': pinned, 'prefetch_mode': mode}
            dataset = build_dataset(block, phase='train')
            made = build_dataloader(dataset, options, 'train', device=setting.device, mask_dropout=0.5)
            batches = list(prefetch(made, setting.device, mode))
            sides.append([{key: value for key, value in one.items() if torch.is_tensor(value)} for one in batches])
    for other in sides[1:]:
        for one, two in zip(sides[0], other, strict=True):
            if not all(torch.equal(one[key], two[key]) for key in one):
                raise CheckFailed('batches differ')
    return f'{len(sides)} ways, {len(sides[0])} batches each, bit-equal'


@check(13, 'speed')
def speed(setting: Setting) -> str:
    """SAM-Deblur at the largest batch that fits: steps per second, memory, waiting for data, idle host."""
    device = setting.device
    side, counts = (64, (2, 3)) if setting.tiny else (256, (20, 50))
    size, rows = _largest_batch(setting, side), []
    precisions = ['fp32', *(['bf16'] if fast_bfloat16(device) else [])]
    variants: list[tuple[str, dict[str, Any]]] = [('default', {})]
    variants += [(name, {'precision': name, 'tf32': False}) for name in precisions]
    if device.type == 'cuda':
        variants.insert(2, ('fp32 with TF32', {'tf32': True}))
    if not setting.tiny:
        variants.append((f'{precisions[-1]}, compiled', {'precision': precisions[-1], 'compile': True}))
    for name, train in variants:
        model, batch = model_on(device, setting.tiny, **train), batch_on(device, size, side, 60)
        rate, memory, queued = _rate(setting, lambda model=model, batch=batch: model.train_step(batch), counts)
        rows.append((name, rate, memory, queued))
        del model
        free_memory(device)
    model, batch = model_on(device, setting.tiny), batch_on(device, max(1, size // 4), side, 60)
    original = OriginalStep(model.net, batch, 60)
    rate, memory, queued = _rate(setting, original, (2, max(3, counts[1] // 5)))
    rows.append(('transcription', rate * max(1, size // 4) / size, memory, queued))
    setting.tables.append('\n'.join([
        f'| SAM-Deblur, batch {size} × {side}² | it/s | peak MiB | host busy |', '|---|---|---|---|',
        *(f'| {name} | {rate:.2f} | {memory or 0:.0f} | {busy:.0%} |' for name, rate, memory, busy in rows),
    ]))  # fmt: skip
    waiting = _waiting_for_data(setting, size, side, counts)
    if waiting > 0.05 and not setting.tiny:
        setting.warn(f'{waiting:.0%} of the time waiting for data: use a raw store or more workers')
    texts = [f'{name} {rate:.2f} it/s' for name, rate, _, _ in rows]
    return f'batch {size}: {", ".join(texts)}; waiting for data {waiting:.1%}'


def _rate(setting: Setting, step: Any, counts: tuple[int, int]) -> tuple[float, float | None, float]:
    """Return steps per second, MiB, and the share of the time that the host needs to queue a step.

    Waiting for the numbers of the step before is no work of the host. Slow steps are fewer.
    """
    begin = time.perf_counter()
    for _ in range(counts[0]):
        step()
        if time.perf_counter() - begin > _SECONDS:
            break
    setting.synchronize()
    start, queued, waited, done = time.perf_counter(), 0.0, 0.0, 0
    settle = StepResult.settle

    def timed_settle(result: StepResult) -> None:
        nonlocal waited
        begin = time.perf_counter()
        settle(result)
        waited += time.perf_counter() - begin

    def timed() -> None:
        nonlocal queued, done
        while done < counts[1] and time.perf_counter() - start < _SECONDS:
            begin = time.perf_counter()
            step()
            queued += time.perf_counter() - begin
            done += 1
        setting.synchronize()

    with patch.object(StepResult, 'settle', timed_settle):
        _, memory = peak_memory(timed, setting.device)
    seconds = time.perf_counter() - start
    return done / seconds, memory, (queued - waited) / seconds


def _largest_batch(setting: Setting, side: int) -> int:
    size = 1 if setting.tiny else 128
    while size > 1:
        try:
            model_on(setting.device, setting.tiny).train_step(batch_on(setting.device, size, side, 60))
            setting.synchronize()
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        free_memory(setting.device)
        size //= 2
    return 1


def _waiting_for_data(setting: Setting, size: int, side: int, counts: tuple[int, int]) -> float:
    """Return the share of the time that a loop waits for a loader whose samples cost next to nothing."""
    model = model_on(setting.device, setting.tiny)
    dataset = build_dataset({'type': 'SyntheticBlurDataset', 'length': size, 'gt_size': side}, phase='train')
    samples = [dataset[index] for index in range(size)]

    class Ready(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return size * (sum(counts) + 1)

        def __getitem__(self, index: int) -> Any:
            return samples[index % size]

    options = LoaderOptions(num_worker_per_gpu=4, batch_size_per_gpu=size)
    processes = Processes(device=setting.device)
    data = TrainingData([Ready()], options, [Stage(share_batch(size, size, 1))], processes, 0, mask_dropout=0.5)
    stream, waited, begin = data.steps(), 0.0, time.perf_counter()
    for number in range(sum(counts)):
        start = time.perf_counter()
        batches = next(stream)
        if number == counts[0]:
            waited, begin = 0.0, time.perf_counter()
        waited += time.perf_counter() - start if number > counts[0] else 0.0
        model.train_step(*batches)
    setting.synchronize()
    stream.close()
    data.close()
    return waited / (time.perf_counter() - begin)


@check(14, 'compiled training')
def compiled(setting: Setting) -> str:
    """Losses of five steps, compiled and eager, with mask dropout; tiny runs compile without a C++ compiler."""
    side = 32 if setting.tiny else 128
    eager, other = model_on(setting.device), model_on(setting.device)
    if not setting.tiny and setting.device.type == 'cpu':
        raise Skipped('needs a GPU; tests/training/test_compile.py compiles for the CPU')
    torch._dynamo.reset()
    other._forward = torch.compile(other.net, backend='aot_eager' if setting.tiny else 'inductor')
    worst = 0.0
    for _ in range(5):
        one, two = (model.train_step(batch_on(setting.device, 4, side)).losses['l_pix'] for model in (eager, other))
        worst = max(worst, abs(two / one - 1))
    return require(worst, 1e-3, 'largest difference of the loss')
