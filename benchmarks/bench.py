"""Measure two implementations alternately, and compare the times with what the machine could do."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from basicsr.utils.device import fast_bfloat16
from basicsr.utils.measure import median_seconds, peak_memory

EMULATION = {'ONEDNN_MAX_CPU_ISA': 'AVX2', 'ATEN_CPU_CAPABILITY': 'avx2', 'MKL_ENABLE_INSTRUCTIONS': 'AVX2'}


class Seconds(NamedTuple):
    """Medians of one side: wall time, and CPU time of all threads, which other processes affect less."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Row:
    """One comparison; numbers are milliseconds unless ``unit`` says otherwise.

    Args:
        item: name of the benchmark.
        case: what was measured.
        plain: of the plain implementation; None without one.
        here: of this project.
        unit: of both.
        ratio: plain / here.
        cpu_ratio: the same for CPU time.
        peak: additional MiB at the peak of ours.
        floor: milliseconds that the arithmetic, or moving the bytes once, would take at the measured rates.
        target: that the project set itself.
    """

    item: str
    case: str
    plain: float | None
    here: float
    unit: str = 'ms'
    ratio: float | None = None
    cpu_ratio: float | None = None
    peak: float | None = None
    floor: float | None = None
    target: str = ''

    def __str__(self) -> str:
        def shown(value: float | None, form: str) -> str:
            return '' if value is None else form.format(value)

        floor = '' if self.floor is None else f'{self.floor:.3g} ({self.floor / self.here:.0%})'
        numbers = [shown(self.plain, '{:.4g}'), f'{self.here:.4g}', self.unit]
        ratios = [shown(value, '{:.1f}×') for value in (self.ratio, self.cpu_ratio)]
        return f'| {" | ".join([self.case, *numbers, *ratios, shown(self.peak, "{:.0f}"), floor, self.target])} |'


HEAD = '| case | plain | here | unit | ratio | CPU ratio | peak MiB | floor (share reached) | target |'
RULE = '|' + '---|' * 9


class Bench:
    """Where benchmarks run, and what they found.

    Args:
        device: of networks; the other items use the CPU.
        quick: few rounds, and only small cases.
    """

    def __init__(self, device: torch.device, quick: bool) -> None:
        self.device, self.quick = device, quick
        self.rows: list[Row] = []
        self.tables: list[str] = []
        self.item = ''
        self.rates = measured_rates(device)

    def compare(
        self,
        case: str,
        plain: Callable[[], Any],
        here: Callable[[], Any],
        rounds: int = 7,
        target: str = '',
        flops: bool = False,
        moved: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Time both sides alternately, print and keep a row.

        Args:
            case: what is measured.
            plain: the transcription; both may be None-returning functions.
            here: this project.
            rounds: at most 2 in quick runs.
            target: ratio that the project set itself.
            flops: count the arithmetic of ``here`` for the floor.
            moved: bytes that have to be read or written, for the floor.
            dtype: of the products.
        """
        times = paired({'plain': plain, 'here': here}, min(rounds, 2) if self.quick else rounds, self.device)
        _, peak = peak_memory(here, self.device)
        floor = moved / self.rates['copy'] if moved else None
        if flops:
            floor = max(floor or 0.0, counted(here) / self.rates[str(dtype)[6:]])
        slow, fast = times['plain'], times['here']
        self.add(
            Row(
                self.item, case, slow.wall * 1e3, fast.wall * 1e3, 'ms', slow.wall / fast.wall,
                slow.cpu / max(fast.cpu, 1e-9), peak, None if floor is None else floor * 1e3, target,
            )
        )  # fmt: skip

    def add(self, row: Row) -> None:
        """Print and keep a row."""
        print(row, flush=True)
        self.rows.append(row)

    def number(self, case: str, plain: float | None, here: float, unit: str, target: str = '') -> None:
        """Add a pair of numbers that is no time."""
        self.add(Row(self.item, case, plain, here, unit, plain / here if plain else None, target=target))

    def table(self, text: str) -> None:
        """Print and keep a further table."""
        print(f'\n{text}\n', flush=True)
        self.tables.append(text)


def paired(sides: dict[str, Callable[[], Any]], rounds: int, device: torch.device | None = None) -> dict[str, Seconds]:
    """Return median times of each side; every round runs all of them in turn, after one warm-up each."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            if device is not None and device.type == 'cuda':
                torch.cuda.synchronize(device)
            if number:
                wall[name].append(time.perf_counter() - start)
                cpu[name].append(time.process_time() - start_cpu)
    return {name: Seconds(statistics.median(wall[name]), statistics.median(cpu[name])) for name in sides}


def counted(run: Callable[[], Any]) -> float:
    """Return the floating-point operations of convolutions, products and attention in ``run``."""
    with flop_counter() as counter:
        run()
    return float(counter.get_total_flops())


def flop_counter() -> FlopCounterMode:
    """Return torch's counter, which ignores the groups in backward passes of convolutions, with a formula for these."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _backward_flops})


def _backward_flops(
    gradient: Any, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
    *more: Any, out_shape: Any = None, **kwargs: Any,
) -> int:  # fmt: skip
    mask = more[2]
    once: int = 2 * x[0] * math.prod(weight) * math.prod((x if transposed else gradient)[2:])
    return once * (bool(mask[0]) + bool(mask[1]))


def measured_rates(device: torch.device) -> dict[str, float]:
    """Return FLOP/s of large products in float32 and bfloat16, and bytes/s of a copy (read and written)."""
    side, large = (1536, 2**24) if device.type == 'cpu' else (8192, 2**28)
    found: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.rand(side, side, device=device).to(dtype)
        if dtype == torch.bfloat16 and (emulated() or not fast_bfloat16(device)):  # slower by orders of magnitude
            found['bfloat16'] = found['float32']
            continue
        found[str(dtype)[6:]] = 2 * side**3 / median_seconds(partial(torch.mm, a, a), device, 5)
    x, target = torch.rand(2, large, device=device)
    return {**found, 'copy': 2 * x.nbytes / median_seconds(lambda: target.copy_(x), device, 5)}


def emulated() -> bool:
    """Return whether the libraries use AVX2 only, by :data:`EMULATION`."""
    return all(os.environ.get(key) == value for key, value in EMULATION.items())


def machine(bench: Bench) -> dict[str, str]:
    """Return what the head of a table says."""
    checks = {
        'AMX': '_is_amx_tile_supported',
        'AVX512-BF16': '_is_avx512_bf16_supported',
        'AVX512': '_is_avx512_supported',
    }
    features = [name for name, check in checks.items() if getattr(torch.cpu, check, bool)()]
    features = list(dict.fromkeys([*features, torch.backends.cpu.get_cpu_capability()]))
    rates = bench.rates
    found = {
        'processor': f'{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads',
        'features': 'AVX2 (emulated)' if emulated() else ', '.join(features),
        'measured rates': f'fp32 {rates["float32"] / 1e9:.0f} GFLOP/s, bf16 {rates["bfloat16"] / 1e9:.0f} GFLOP/s, '
        f'copy {rates["copy"] / 1e9:.1f} GB/s',
        'versions': f'Python {platform.python_version()}, torch {torch.__version__}',
    }
    if bench.device.type == 'cuda':
        found['GPU'] = torch.cuda.get_device_name(bench.device)
    return found


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        return next(line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(bench: Bench, about: dict[str, str], folder: Path) -> Path:
    """Write ``benchmarks.json`` and ``benchmarks.md``; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(row) for row in bench.rows]
    (folder / 'benchmarks.json').write_text(json.dumps({'machine': about, 'rows': rows}, indent=2) + '\n')
    lines = [*(f'{key}: {value}  ' for key, value in about.items()), '']
    for item in dict.fromkeys(row.item for row in bench.rows):
        lines += [f'**{item}**', '', HEAD, RULE, *(str(row) for row in bench.rows if row.item == item), '']
    page = folder / 'benchmarks.md'
    page.write_text('\n'.join([*lines, '\n\n'.join(bench.tables)]) + '\n')
    return page
