"""Activation checkpointing: time and memory of training steps and of effective receptive fields, with and without it.

Each case runs in a process of its own, on one thread where the device is a CPU.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from basicsr.archs import build_network
from basicsr.archs.activation_checkpointing import checkpoint_activations
from basicsr.evaluation.receptive_field import centre_gradient
from basicsr.utils.measure import peak_memory
from benchmarks.bench import Bench
from benchmarks.networks import PUBLISHED

LAKDNET_S: dict[str, Any] = {'type': 'LaKDNet', 'dim': 32, 'num_blocks': [8, 12, 12, 16]}
NETWORKS: dict[str, dict[str, Any]] = {
    'LaKDNet-S': LAKDNET_S,
    'NAFNet width 32': {'type': 'NAFNet', **PUBLISHED},
    'RSS-T': {'type': 'RSST', 'base_channel': 32, 'win_size': [4, 16], 'trans_type': 'rsst'},
}
STEPS = (('LaKDNet-S', 128), ('LaKDNet-S', 256), ('NAFNet width 32', 256), ('RSS-T', 256))
FIELDS = ((256, False), (256, True), (512, True))


def measured(name: str, size: int, checkpointing: bool, field: bool, device: str) -> tuple[float, float]:
    """Return seconds, of CPU time on a CPU, and additional peak MiB of one gradient: of parameters, or of the input."""
    torch.manual_seed(0)
    place = torch.device(device)
    if place.type == 'cpu':
        torch.set_num_threads(1)
    net, x = build_network(NETWORKS[name]).train(not field).to(place), torch.rand(1, 3, size, size, device=place)
    if checkpointing:
        checkpoint_activations(net)

    clock = time.process_time if place.type == 'cpu' else time.perf_counter  # other processes may keep the CPU busy

    def run() -> float:
        start = clock()
        if field:
            centre_gradient(net, x)
        else:
            output = net(x)
            last: torch.Tensor = output if isinstance(output, torch.Tensor) else output[-1]
            last.abs().mean().backward()
        if place.type == 'cuda':
            torch.cuda.synchronize(place)
        return clock() - start

    seconds, memory = peak_memory(run, place)
    return seconds, memory or 0.0


def apart(*arguments: Any) -> tuple[float, float]:
    """Return the result of :func:`measured` in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as process:
        return process.submit(measured, *arguments).result()


def run_checkpointing(bench: Bench) -> None:
    """Measure steps of one sample, and fields of one crop."""
    device = str(bench.device)
    for name, size in STEPS[: 1 if bench.quick else None]:
        (slow, all_kept), (seconds, kept) = (apart(name, size, way, False, device) for way in (False, True))
        case = f'gradients of {name}, 1×{size}×{size}: activations kept, computed again'
        bench.number(f'{case}, memory', all_kept, kept, 'MiB')
        bench.number(f'{case}, time', slow, seconds, 's')
    for size, checkpointing in FIELDS[: 1 if bench.quick else None]:
        seconds, memory = apart('LaKDNet-S', size, checkpointing, True, device)
        case = f'receptive field of LaKDNet-S, {size}×{size}' + (', activation checkpointing' if checkpointing else '')
        targets = {(256, False): ('≤ 60 s', '≤ 8192 MiB'), (512, True): ('', '≤ 16384 MiB')}
        for number, (value, unit) in enumerate(((seconds, 's'), (memory, 'MiB'))):
            bench.number(case, None, value, unit, targets.get((size, checkpointing), ('', ''))[number])
