"""Signals that ask a training to stop: it finishes its step, saves, and ends with its own exit code."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

EXIT_STOPPED = 75
"""Exit code of a training that a signal stopped after it had saved (EX_TEMPFAIL: try again later)."""
SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name))


class StopRequest:
    """Whether a signal has come."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """The signal by name."""
        return 'a signal to another process' if self.signal is None else signal.Signals(self.signal).name

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C interrupts at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch the signals while the block runs; in threads other than the main one nothing is caught.

    Whatever started this process may have blocked them (a process inherits that): they would wait for ever.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in SIGNALS}
    blocked = _unblock(SIGNALS)
    try:
        yield request
    finally:
        _block(blocked)
        for number, handler in before.items():
            signal.signal(number, handler)


def _unblock(signals: Iterable[int]) -> set[int]:
    """Let signals through to this thread; returns those that were held back."""
    if not hasattr(signal, 'pthread_sigmask'):
        return set()
    return signal.pthread_sigmask(signal.SIG_UNBLOCK, signals) & set(signals)


def _block(signals: Iterable[int]) -> None:
    if hasattr(signal, 'pthread_sigmask'):
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
