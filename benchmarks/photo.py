"""Measure the time of each step of basicsr/deblur.py for a 720×1280 photo, and the memory for 24 megapixels.

python -m benchmarks.photo              with the bundled network
python -m benchmarks.photo --model FILE with another network
python -m benchmarks.photo --large      also measure a 24-megapixel photo (takes minutes)
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from basicsr.images.photo import load_photo
from basicsr.images.photo_files import save_photo
from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import find_weights
from basicsr.masks import build_generator
from benchmarks.bench import Bench

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3


def photo(height: int, width: int) -> np.ndarray:
    """Return an image with regions, edges and texture, RGB uint8."""
    rng = np.random.default_rng(0)
    image = np.zeros((height, width, 3), np.float32)
    for cell, size in ((200, 60), (40, 25), (8, 12), (2, 5)):
        coarse = rng.normal(0, size, (height // cell + 2, width // cell + 2, 3)).astype(np.float32)
        image += cv2.resize(
            coarse, (width, height), interpolation=cv2.INTER_NEAREST if cell > 100 else cv2.INTER_LINEAR
        )
    return np.clip(image + 128, 0, 255).astype(np.uint8)


def timed(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return wall seconds, CPU seconds and the result."""
    start = time.perf_counter(), time.process_time()
    result = run()
    return time.perf_counter() - start[0], time.process_time() - start[1], result


def parts(file: Path, model: Path, folder: Path) -> None:
    """Print the time of each step in one process."""
    rows = []
    wall, cpu, read = timed(lambda: load_photo(file))
    rows.append(('read', wall, cpu))
    generator = build_generator({'type': 'felzenszwalb'})
    wall, cpu, labels = timed(lambda: generator(read.pixels))
    rows.append(('masks (felzenszwalb)', wall, cpu))
    results = {}
    for dtype in ('fp32', 'bf16'):
        deblurrer = Deblurrer.load(model, dtype=dtype, device='cpu', guard='off')
        deblurrer.deblur(read.pixels[:200, :200], 'none')
        wall, cpu, results[dtype] = timed(partial(deblurrer, read.pixels, labels))
        rows.append((f'network, {dtype}', wall, cpu))
    guarded = Deblurrer.load(model, dtype='fp32', device='cpu', guard='warn')
    wall_with, cpu_with, _ = timed(lambda: guarded(read.pixels, labels))
    rows.append(('network, fp32, and guard', wall_with, cpu_with))
    wall, cpu, _ = timed(lambda: save_photo(folder / 'out.jpg', read))
    rows.append(('write', wall, cpu))
    error = np.square(results['fp32'].astype(float) - results['bf16']).mean()
    print('| part | wall, s | CPU, s |\n|---|---|---|')
    for name, wall, cpu in rows:
        print(f'| {name} | {wall:.2f} | {cpu:.2f} |')
    print(f'\nbf16 against fp32: {10 * np.log10(255**2 / error):.1f} dB')


def command(file: Path, model: Path, folder: Path, dtype: str) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak resident MiB of the command, in a separate process."""
    words = [sys.executable, str(ROOT / 'basicsr' / 'deblur.py'), '-i', str(file), '-o', str(folder / 'results')]
    words += ['--model', str(model), '--mask-cache', 'none', '--device', 'cpu', '--overwrite', '--dtype', dtype]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f'the command failed: {" ".join(words)}')
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--large', action='store_true', help='also measure a 24-megapixel photo')
    parser.add_argument('--model', metavar='NAME', help='network file or name (default: the bundled network)')
    parser.add_argument(
        '--parts',
        action=argparse.BooleanOptionalAction,
        default=True,
        help='measure each step',
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = find_weights(arguments.model)
        sizes = {(720, 1280): ROUNDS} | ({(4000, 6000): 1} if arguments.large else {})
        print(f'{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {model.name}\n')
        for height, width in sizes:
            cv2.imwrite(str(folder / f'{height}.jpg'), photo(height, width))
        if arguments.parts:
            parts(folder / '720.jpg', model, folder)
        print('\n| whole command, medians | wall, s | CPU, s | peak memory, MiB |\n|---|---|---|---|')
        for (height, width), rounds in sizes.items():
            for dtype in ('fp32', 'bf16'):
                runs = [command(folder / f'{height}.jpg', model, folder, dtype) for _ in range(rounds)]
                wall, cpu, peak = (statistics.median(values) for values in zip(*runs, strict=True))
                print(f'| {height}×{width}, {dtype} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |')


def run_photo(bench: Bench) -> None:
    """The bundled network on a photo: float32, bfloat16, and with the guard."""
    height, width = (480, 640) if bench.quick else (720, 1280)
    pixels, device = photo(height, width), str(bench.device)
    plain = Deblurrer.load(None, dtype='fp32', device=device, guard='off', method='network')
    for name, arguments in (('bf16', {'dtype': 'bf16', 'guard': 'off'}), ('fp32 with the guard', {'dtype': 'fp32'})):
        other = Deblurrer.load(None, device=device, method='network', **arguments)
        bench.compare(
            f'{height}×{width}, {name}, against fp32 without it', lambda: plain(pixels, 'none'),
            partial(other, pixels, 'none'), 3, flops=name == 'bf16', dtype=torch.bfloat16,
        )  # fmt: skip


if __name__ == '__main__':
    main()
