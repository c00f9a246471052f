"""Run checks one after another; print a line for each, and write JSON and Markdown."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch


class CheckFailed(Exception):
    """A number is beyond its limit."""


class Skipped(Exception):
    """The machine lacks what a check needs."""


@dataclass
class Setting:
    """Where and how large checks run.

    Args:
        device: to check.
        tiny: use the smallest sizes, to try the checks themselves on a CPU.
        folder: for files.
        end: time of ``time.monotonic()`` after which no check starts.
        warnings: of the running check.
        tables: Markdown of the running check.
    """

    device: torch.device
    tiny: bool
    folder: Path
    end: float = math.inf
    warnings: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Note something to improve that is no failure."""
        self.warnings.append(text)

    def seconds_left(self, most: float) -> float:
        """Return how long a part of the running check may take: ``most``, or the rest of the time."""
        return max(1.0, min(most, self.end - time.monotonic()))

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)


@dataclass(frozen=True)
class Outcome:
    """The result of a check: ``status`` is ok, warning, skipped, no time or FAILED."""

    number: int
    name: str
    status: str
    text: str
    seconds: float
    warnings: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


Check = Callable[[Setting], str]
CHECKS: dict[int, tuple[str, Check]] = {}


def check(number: int, name: str) -> Callable[[Check], Check]:
    """Register a check: it returns its numbers as a text, and raises CheckFailed or Skipped."""

    def register(function: Check) -> Check:
        CHECKS[number] = name, function
        return function

    return register


def require(value: float, limit: float, what: str, at_least: bool = False) -> str:
    """Return ``what`` with the value.

    Raises:
        CheckFailed: the value is beyond the limit, or NaN.
    """
    text = f'{what} {value:.3g}'
    if not (value >= limit if at_least else value <= limit):
        raise CheckFailed(f'{text} ({"at least" if at_least else "at most"} {limit:g} expected)')
    return text


def run_check(number: int, setting: Setting) -> Outcome:
    """Run one check; errors count as failures. After the end of the time, no check starts."""
    name, function = CHECKS[number]
    if time.monotonic() >= setting.end:
        return Outcome(number, name, 'no time', 'not started, because the time is over', 0.0)
    setting.warnings, setting.tables = [], []
    start, status = time.perf_counter(), 'ok'
    try:
        text = function(setting)
        status = 'warning' if setting.warnings else 'ok'
    except Skipped as reason:
        status, text = 'skipped', str(reason)
    except CheckFailed as reason:
        status, text = 'FAILED', str(reason)
    except Exception as error:  # noqa: BLE001 - the other checks still tell something
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f'{Path(place.filename).name}:{place.lineno}'
        status, text = 'FAILED', f'{type(error).__name__}: {str(error)[:300]} ({where})'
    seconds = time.perf_counter() - start
    return Outcome(number, name, status, text, round(seconds, 1), tuple(setting.warnings), tuple(setting.tables))


def line(outcome: Outcome) -> str:
    """Return the line of an outcome, and one for each warning."""
    first = f'{outcome.number:>2} {outcome.status:<8} {outcome.seconds:6.1f} s  {outcome.name}: {outcome.text}'
    return '\n'.join([first, *(f'   warning: {text}' for text in outcome.warnings)])


def write_reports(folder: Path, machine: dict[str, str], outcomes: list[Outcome]) -> tuple[Path, Path]:
    """Write ``check_gpu.json`` and ``check_gpu.md``; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, page = folder / 'check_gpu.json', folder / 'check_gpu.md'
    data.write_text(json.dumps({'machine': machine, 'checks': [asdict(one) for one in outcomes]}, indent=2) + '\n')
    rows = [
        f'| {o.number} | {o.name} | {o.status} | {"; ".join([o.text, *o.warnings])} | {o.seconds} |' for o in outcomes
    ]
    head = [f'{key}: {value}  ' for key, value in machine.items()]
    tables = [table for outcome in outcomes for table in outcome.tables]
    lines = [*head, '', '| # | check | result | numbers | s |', '|---|---|---|---|---|', *rows, '', '\n\n'.join(tables)]
    page.write_text('\n'.join(lines) + '\n')
    return data, page
