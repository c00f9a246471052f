"""Take turns: one at a time, in the order of asking."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Turns:
    """Lets one thread after the other do something, first come, first served."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[object] = []

    @property
    def waiting(self) -> int:
        """Number of threads that wait or have their turn."""
        return len(self._tickets)

    @contextlib.contextmanager
    def turn(self, check: Callable[[int], None] = lambda before: None, every: float = 0.1) -> Iterator[None]:
        """Wait for a turn, which ends with the block.

        Args:
            check: called with the number of turns before this one while it waits; may raise to leave the line.
            every: interval of these calls in seconds.
        """
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
        try:
            with self._changed:
                while self._tickets[0] is not ticket:
                    check(self._tickets.index(ticket))
                    self._changed.wait(every)
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()
