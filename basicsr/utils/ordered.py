"""Results of concurrent calls in the order of their items, with a limited number of calls ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar('T')
R = TypeVar('R')


def in_order(submit: Callable[[T], Future[R]], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Return the results of ``submit(item)`` for each item, in their order.

    Args:
        submit: starts the call for an item.
        items: read as they are needed.
        ahead: number of calls that may be started before the first of them is finished.
    """
    waiting: deque[Future[R]] = deque()
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
