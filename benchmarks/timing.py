"""Paired timing: run both sides alternately in one process, and report medians and ratios."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch


class Seconds(NamedTuple):
    """Medians of one side: wall time, and CPU time of all threads, which other processes affect less."""

    wall: float
    cpu: float


def paired(sides: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, Seconds]:
    """Return median times of each side; every round runs all of them in turn, after one warm-up each."""
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {name: Seconds(statistics.median(wall[name]), statistics.median(cpu[name])) for name in sides}


def row(title: str, times: dict[str, Seconds], target: str = '') -> None:
    """Print one line: time of the baseline (the first side), of ours (the second), and their ratio."""
    slow, fast = list(times.values())[:2]
    ratios = f'{slow.wall / fast.wall:.1f}× | {slow.cpu / fast.cpu:.1f}×'
    print(f'| {title} | {slow.wall * 1e3:.1f} | {fast.wall * 1e3:.1f} | {ratios} | {target} |')


def header(title: str, baseline: str = 'transcription') -> None:
    """Print the title, the machine and the head of the table."""
    print(f'### {title}')
    print(f'{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}')
    print()
    print(f'| case | {baseline}, ms | ours, ms | ratio | ratio of CPU time | target |')
    print('|---|---|---|---|---|---|')
