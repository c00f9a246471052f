"""Cost against the size of the image and the number of regions: time and peak memory, each in a new process."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from basicsr.archs.map_unit import mask_average_pooling
from basicsr.inference.deblurrer import Deblurrer
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils.measure import peak_memory
from benchmarks.bench import Bench
from benchmarks.photo import photo

MEGAPIXELS = (0.1, 1.0, 4.0, 12.0, 24.0)
REGIONS = (1, 10, 100, 1000)


def size_of(megapixels: float) -> tuple[int, int]:
    """Return height and width of a 3:2 image, multiples of 8."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5 / 8) * 8
    return height, round(megapixels * 1e6 / height / 8) * 8


def grid(count: int, height: int, width: int) -> torch.Tensor:
    """Return a label map of about ``count`` rectangles."""
    side = max(1, round(count**0.5))
    rows, columns = (torch.arange(size) * side // size for size in (height, width))
    cells: torch.Tensor = rows[:, None] * side + columns + 1
    return cells[None, None].to(torch.int16 if count > 255 else torch.uint8)


def measured(what: str, megapixels: float, regions: int) -> tuple[float, float]:
    """Return seconds and additional peak MiB of one operation; run it in a separate process."""
    height, width = size_of(megapixels)
    if what == 'MAP':
        x, labels = torch.rand(1, 2, height, width), grid(regions, height, width)
        mask_average_pooling(x[..., :64, :64], labels[..., :64, :64])

        def run() -> object:
            return mask_average_pooling(x, labels)
    elif what == 'photo':
        pixels, deblurrer = photo(height, width), Deblurrer.load(None, device='cpu', dtype='fp32', method='network')
        deblurrer(pixels[:64, :64], 'none')

        def run() -> object:
            return deblurrer(pixels, 'none')
    else:
        first = photo(height, width)
        second = np.roll(first, 1, 1)
        calculate_ssim(first[:64, :64], second[:64, :64])

        def run() -> object:
            return calculate_psnr(first, second), calculate_ssim(first, second)

    start = time.perf_counter()
    with torch.no_grad():
        _, peak = peak_memory(run, torch.device('cpu'))
    return time.perf_counter() - start, peak or 0.0


def run_sizes(bench: Bench) -> None:
    """One table: seconds, MiB, and both per megapixel."""
    sizes, regions = (MEGAPIXELS[:2], REGIONS[::3]) if bench.quick else (MEGAPIXELS, REGIONS)
    cases = [('MAP', size, count) for size in sizes for count in regions]
    cases += [(what, size, 1) for what in ('evaluation', 'photo') for size in sizes]
    lines = ['| what | megapixels | regions | s | s per MP | peak MiB | MiB per MP |', '|---|---|---|---|---|---|---|']
    for what, size, count in cases:
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as process:
            seconds, peak = process.submit(measured, what, size, count).result()
        numbers = f'{seconds:.3g} | {seconds / size:.3g} | {peak:.0f} | {peak / size:.0f}'
        lines.append(f'| {what} | {size:g} | {count if what == "MAP" else ""} | {numbers} |')
        print(lines[-1], flush=True)
    bench.table(
        '\n'.join(['Cost against size (PSNR and 3-D SSIM for evaluation; the bundled network for photos)', '', *lines])
    )
