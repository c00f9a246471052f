"""Paired timing: both sides take turns in one process, medians and ratios are reported."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def paired(sides: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of wall time of each side; every round runs all of them, after one warm-up each."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for run in sides.values():
        run()
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def row(title: str, times: dict[str, float], target: str = '') -> None:
    """Print one line: baseline (the first side), ours (the second), how many times faster."""
    (_, slow), (_, fast) = list(times.items())[:2]
    print(f'| {title} | {slow * 1e3:.1f} | {fast * 1e3:.1f} | {slow / fast:.1f}× | {target} |')


def header(title: str) -> None:
    """Print what was measured on which machine, and the table's head."""
    print(f'### {title}')
    print(f'{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}')
    print()
    print('| case | transcription, ms | ours, ms | ratio | target |')
    print('|---|---|---|---|---|')
