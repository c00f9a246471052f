"""Results of concurrent calls in the order of their items, with a limited number of calls ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar('T')
R = TypeVar('R')
R_co = TypeVar('R_co', covariant=True)


class Pending(Protocol[R_co]):
    """A call that was started, such as a :class:`~concurrent.futures.Future`."""

    def result(self) -> R_co:
        """Wait for the end of the call, and return its result or raise its error."""


def in_order(submit: Callable[[T], Pending[R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Return the results of ``submit(item)`` for each item, in their order.

    Args:
        submit: starts the call for an item.
        items: read as they are needed.
        ahead: number of calls that may be started before the first of them is finished.
    """
    waiting: deque[Pending[R]] = deque()
    for item in items:
        waiting.append(submit(item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    yield from (future.result() for future in waiting)


def in_threads(threads: int, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Return ``work(item)`` for each item, in their order; several threads work on the next ones meanwhile."""
    if threads == 1:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from in_order(lambda item: pool.submit(work, item), items, threads)
