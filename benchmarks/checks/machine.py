"""The machine: versions and limits, and how close single operators come to its bandwidth."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basicsr.utils.device import fast_bfloat16
from basicsr.utils.measure import median_seconds
from benchmarks.checks.jobs import ROOT, require_success, run, torchrun
from benchmarks.checks.running import Setting, check

_OWN_CONTEXT = 1.5  # GiB: more than the context of this process with its libraries


def facts(device: torch.device) -> dict[str, str]:
    """Return what a report says about the machine."""
    found = {
        'torch': str(torch.__version__),
        'python': platform.python_version(),
        'CPUs': f'{len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()}',
    }
    if device.type == 'cuda':
        about = torch.cuda.get_device_properties(device)
        found = {'GPU': f'{torch.cuda.device_count()} × {about.name}, {about.total_memory / 2**30:.0f} GiB'} | found
        found['CUDA'] = f'{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}'
    return {'device': str(device), **found}


@check(1, 'machine')
def machine(setting: Setting) -> str:
    """Versions, bf16, links between GPUs, shared memory, open files, host name."""
    device, texts = setting.device, [f'{key} {value}' for key, value in facts(setting.device).items()]
    if device.type == 'cuda':
        native = fast_bfloat16(device)
        unused, total = torch.cuda.mem_get_info(device)
        in_use = (total - unused - torch.cuda.memory_reserved(device)) / 2**30
        if in_use > _OWN_CONTEXT:
            setting.warn(f'{in_use:.1f} GiB of the GPU are in use already: other processes change the times')
        texts.append('bf16' if native else 'no bf16')
        if not native:
            setting.warn('no native bf16: use train.precision: fp16')
        count = torch.cuda.device_count()
        linked = all(torch.cuda.can_device_access_peer(0, index) for index in range(1, count))
        if count > 1 and not linked:
            setting.warn('GPUs cannot read each other (P2P): gradients go through the host')
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < (2, 8):
        setting.warn('torch 2.8 and later have faster layer norms on GPUs')
    if Path('/dev/shm').is_dir():
        free = shutil.disk_usage('/dev/shm').free / 2**20
        texts.append(f'/dev/shm {free:.0f} MB')
        if free < 470:
            setting.warn('/dev/shm: 16 workers need 470 MB per GPU; docker run --shm-size=8g')
    try:
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        texts.append(f'ulimit -n {files}')
        if files < 1024:
            setting.warn('ulimit -n: data workers need 1024 open files')
    except ImportError:
        pass
    try:
        address = socket.gethostbyname(socket.gethostname())
        if address.startswith('127.'):
            setting.warn(f'the host name resolves to {address}: for several nodes, set GLOO_SOCKET_IFNAME')
    except OSError:
        setting.warn('the host name does not resolve: for several nodes, set MASTER_ADDR and GLOO_SOCKET_IFNAME')
    return ', '.join(texts)


@check(12, 'single operators')
def operators(setting: Setting) -> str:
    """Time of operators, compared with moving their input and output once at the speed of a copy."""
    device, channels, side = setting.device, (8 if setting.tiny else 64), (32 if setting.tiny else 256)
    dtypes = [torch.float32, torch.bfloat16]
    rounds = 3 if setting.tiny else 20
    big = torch.empty((1 if setting.tiny else 256) * 2**18, device=device)
    copied = 2 * big.nbytes / median_seconds(lambda: big.clone(), device, rounds)
    rows, slow = [], []

    def measure(name: str, run: Callable[[], Any], moved: int, rate: float = copied) -> None:
        with torch.no_grad():
            seconds = median_seconds(run, device, rounds)
        ratio = seconds / (moved / rate)
        rows.append(f'| {name} | {seconds * 1e6:.0f} | {ratio:.1f} |')
        if ratio > 4:
            slow.append(f'{name} {ratio:.0f}×')

    for dtype in dtypes:
        for layout, form in (('NHWC', torch.channels_last), ('NCHW', torch.contiguous_format)):
            x = torch.rand(8, channels, side, side, device=device, dtype=dtype).contiguous(memory_format=form)
            label = f'{str(dtype)[6:]} {layout}'
            for kernel in (3, 7):
                conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels).to(device, dtype)
                conv = conv.to(memory_format=form)
                measure(f'depth-wise {kernel}×{kernel}, {label}', partial(conv, x), 2 * x.nbytes)
            point = nn.Conv2d(channels, channels, 1).to(device, dtype).to(memory_format=form)
            measure(f'1×1, {label}', partial(point, x), 2 * x.nbytes)
        norm, y = (
            nn.LayerNorm(channels).to(device, dtype),
            torch.rand(8 * side * side, channels, device=device).to(dtype),
        )
        measure(f'layer norm, {str(dtype)[6:]}', partial(norm, y), 2 * y.nbytes)
    conv3d = nn.Conv3d(channels, channels, 3, padding=1, groups=channels).to(device)
    volume = torch.rand(2, channels, 64, 4, 16, device=device)
    measure('depth-wise 3-D', lambda: conv3d(volume), 2 * volume.nbytes)
    if device.type == 'cuda':
        host = torch.empty(2**26, dtype=torch.uint8).pin_memory()
        seconds = median_seconds(lambda: host.to(device, non_blocking=True), device, rounds)
        rows.append(
            f'| copy of 64 MiB from page-locked memory | {seconds * 1e6:.0f} | {host.nbytes / seconds / 1e9:.1f} GB/s |'
        )
    rows += _all_reduce(setting)
    setting.tables.append('\n'.join(['| operator | µs | times the copy |', '|---|---|---|', *rows]))
    if slow and not setting.tiny:
        setting.warn(f'over four times the time of a copy: {", ".join(slow)}')
    return f'copy {copied / 1e9:.0f} GB/s, {len(rows)} operators, see the table'


def _all_reduce(setting: Setting) -> list[str]:
    """Return the row of exchanging gradients among all GPUs; of two processes in tiny runs."""
    on_gpus = setting.device.type == 'cuda'
    count = torch.cuda.device_count() if on_gpus else 2
    if count < 2 or not (on_gpus or setting.tiny):
        return []
    folder = setting.folder / 'all_reduce'
    words = [*torchrun(count), str(ROOT / 'benchmarks' / 'checks' / 'all_reduce.py'), *([] if on_gpus else ['--cpu'])]
    require_success(run(setting, folder, [sys.executable, *words]), folder)
    found = json.loads((folder / 'all_reduce.json').read_text())
    return [f'| all-reduce, {count} processes | {found["seconds"] * 1e6:.0f} | {found["rate"] / 1e9:.1f} GB/s |']
