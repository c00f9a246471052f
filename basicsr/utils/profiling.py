"""``--profile``: where the time of training steps or of evaluated images goes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

SKIPPED, RECORDED = 2, 4
_LINES = 10


@contextlib.contextmanager
def profiled(folder: Path | None, device: torch.device, steps: int) -> Iterator[Callable[[], None]]:
    """Record a few steps, write ``trace.json`` for https://ui.perfetto.dev, and log the ten costliest operators.

    The first two steps are not recorded: they compile, tune and allocate. If no step follows, there is no trace, which
    a warning says.

    Args:
        folder: for the trace; None records nothing.
        device: whose time counts.
        steps: number of steps to come, so that nothing after the last one is recorded.

    Yields:
        a function to call after each step.
    """
    if folder is None:
        yield lambda: None
        return
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == 'cuda':
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    path, done = folder / 'trace.json', 0

    def finish(profile: Any) -> None:
        count = done - SKIPPED
        if count > 0:
            folder.mkdir(parents=True, exist_ok=True)
            profile.export_chrome_trace(str(path))
            text = summary(profile, device, count)
            logger.info('profile of %d steps:\n%s\ntrace: %s', count, text, path.resolve())

    active = min(RECORDED, max(1, steps - SKIPPED))
    schedule = torch.profiler.schedule(wait=SKIPPED - 1, warmup=1, active=active, repeat=1)
    with torch.profiler.profile(activities=activities, schedule=schedule, on_trace_ready=finish) as profile:

        def step_is_done() -> None:
            nonlocal done
            done += 1
            profile.step()

        yield step_is_done
    if done <= SKIPPED:
        logger.warning('--profile wrote no trace: it leaves out %d steps, and only %d were done', SKIPPED, done)


def summary(profile: Any, device: torch.device, steps: int) -> str:
    """Return ten lines: the operators by their own time per step, on the device, of a profile of ``steps`` steps."""
    on_gpu = device.type == 'cuda'
    times: dict[str, tuple[float, int]] = {}
    for event in profile.key_averages():
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if not event.key.startswith('ProfilerStep'):
            times[event.key] = own / 1e3 / steps, event.count // steps
    total = sum(time for time, _ in times.values()) or 1.0
    costliest = sorted(times.items(), key=lambda pair: -pair[1][0])[:_LINES]
    return '\n'.join(
        f'{time:9.2f} ms {time / total:6.1%} {count:6d} calls  {name}' for name, (time, count) in costliest
    )
