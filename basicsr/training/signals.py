"""Stop a training on signals: finish the step, save a checkpoint, and exit with a special code."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

EXIT_STOPPED = 75
"""Exit code after a signal and a saved checkpoint (EX_TEMPFAIL: try again later)."""
SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGUSR1') if hasattr(signal, name))


class StopRequest:
    """A flag set by signals."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def name(self) -> str:
        """Name of the signal."""
        return 'a signal to another process' if self.signal is None else signal.Signals(self.signal).name

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Record a signal; a second Ctrl-C interrupts at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch signals while the block runs; only in the main thread.

    The signals are unblocked first, since a process inherits blocked signals from its parent.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in SIGNALS}
    mask: Any = getattr(signal, 'pthread_sigmask', None)  # Windows has none
    blocked = mask(signal.SIG_UNBLOCK, SIGNALS) & set(SIGNALS) if mask else set()
    try:
        yield request
    finally:
        if mask:
            mask(signal.SIG_BLOCK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
