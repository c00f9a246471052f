"""Measure seconds and peak memory of a computation."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar('T')


def median_seconds(run: Callable[[], Any], device: torch.device, rounds: int = 5) -> float:
    """Return the median wall time of ``run()`` after one warm-up, with the device synchronized."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        elif device.type == 'mps':
            torch.mps.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def timed(run: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """Return the result of ``run()`` and its seconds.

    On a GPU, these are the seconds of the current stream from the first to the last kernel of ``run()``, so work of
    other threads on other streams neither counts nor is waited for.
    """
    if device.type == 'cuda':
        stream = torch.cuda.current_stream(device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(stream)
        result = run()
        end.record(stream)
        end.synchronize()
        return result, begin.elapsed_time(end) / 1000
    start = time.perf_counter()
    result = run()
    if device.type == 'mps':
        torch.mps.synchronize()
    return result, time.perf_counter() - start


def peak_memory(run: Callable[[], T], device: torch.device, total: bool = False) -> tuple[T, float | None]:
    """Return the result of ``run()`` and the MiB it needed at its peak; None if unknown.

    Args:
        run: the computation.
        device: CUDA measures the memory that torch allocates, the CPU the resident set size (Linux only).
        total: of the whole process; otherwise beyond what was in use before.
    """
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = 0 if total else torch.cuda.memory_allocated(device)
        result = run()
        torch.cuda.synchronize(device)
        return result, (torch.cuda.max_memory_allocated(device) - before) / 2**20
    start = _start_of_peak()
    result = run()
    return result, None if start is None else (_resident('VmHWM') - (0 if total else start)) / 2**10


def _start_of_peak() -> int | None:
    """Reset the recorded peak and return the KiB in use; None if the system does not support it."""
    try:
        release_memory()  # what the C library caches would hide the next growth
        Path('/proc/self/clear_refs').write_text('5')  # the recorded peak starts again at the present size
        return _resident('VmRSS')
    except OSError:
        return None


def release_memory() -> None:
    """Return memory that the C library caches, above all for threads that ended, to the system."""
    with contextlib.suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def _resident(field: str) -> int:
    """Return the KiB in a line of /proc/self/status."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))
