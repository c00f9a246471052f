"""Run many small jobs in several processes. Failed jobs are reported and the rest continue."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from basicsr.utils.errors import BasicsrError, DataError, OutputError
from basicsr.utils.ordered import in_order

logger = logging.getLogger(__name__)

Result = TypeVar('Result')

_work: Callable[[Any], Any] | None = None
_KILLED = 'a worker process was killed, perhaps for lack of memory; use fewer --workers'


@dataclass
class PoolResult(Generic[Result]):
    """Results and failures of a list of jobs.

    Args:
        results: return values of the successful jobs, in order.
        failed: error message of each failed job, by the job's name.
    """

    results: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Pool:
    """Worker processes that start at the first parallel call and stop at the end of the ``with`` block.

    Args:
        workers: number of processes; 1 runs all jobs in the current process.
        shown: whether to show progress bars.
    """

    def __init__(self, workers: int = 1, shown: bool = False) -> None:
        self.workers, self.shown = workers, shown
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def with_bar(self, items: Iterable[Any], count: int, title: str) -> Iterable[Any]:
        """Show a progress bar with the remaining time for ``count`` items, if the pool shows any."""
        return tqdm(items, total=count, desc=title, dynamic_ncols=True, disable=not self.shown)

    def run(self, work: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], title: str = '') -> PoolResult[Result]:
        """Call ``work(*job)`` for every job.

        Args:
            work: a function at the top level of a module; it raises a :class:`BasicsrError` if a job fails.
            jobs: arguments that can be pickled; the first one names the job in messages.
            title: of the progress bar; empty for none.

        Raises:
            OutputError: the disk is full or cannot be written; the remaining jobs are cancelled.
            DataError: a process was killed.
        """
        done: PoolResult[Result] = PoolResult()
        outcomes: Iterable[Any] = self._outcomes(work, jobs)
        shown = self.with_bar(outcomes, len(jobs), title) if title else outcomes
        for job, (result, error) in zip(jobs, shown, strict=True):
            if error is None:
                done.results.append(result)
            else:
                logger.warning('%s: %s', job[0], error)
                done.failed[str(job[0])] = error
        return done

    def each(self, work: Callable[[Any], Result], items: Sequence[Any]) -> Iterator[Result]:
        """Return ``work(item)`` for each item, in their order; the first error ends it.

        Args:
            work: sent to each process once, with its state.
            items: all must be small.

        Raises:
            DataError: a process was killed.
        """
        with self._executor_with(work) as executor:
            try:
                yield from in_order(lambda item: executor.submit(_work_on, item), items, 2 * self.workers)
            except BrokenProcessPool as error:
                raise DataError(_KILLED) from error
            except BaseException:
                executor.shutdown(cancel_futures=True)
                raise

    def _outcomes(self, work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, str | None]]:
        if min(self.workers, len(jobs)) <= 1:
            yield from (_attempt(work, job) for job in jobs)
            return
        executor = self._started()
        try:
            futures = [executor.submit(_attempt, work, job) for job in jobs]
            yield from (future.result() for future in futures)
        except BrokenProcessPool as error:
            raise DataError(_KILLED) from error

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = self._executor_with(None)
        return self._executor

    def _executor_with(self, work: Callable[[Any], Any] | None) -> ProcessPoolExecutor:
        context = multiprocessing.get_context('spawn')  # a fork would copy locks held by threads of torch
        return ProcessPoolExecutor(self.workers, context, _begin_worker, (work,))


def _attempt(work: Callable[..., Any], job: tuple[Any, ...]) -> tuple[Any, str | None]:
    """Return the result and None, or None and the error message. Raise errors that stop the whole run."""
    try:
        return work(*job), None
    except OutputError:
        raise
    except BasicsrError as error:
        return None, str(error)


def _begin_worker(work: Callable[[Any], Any] | None) -> None:
    """Limit a worker to one thread, stop it with its parent process, and keep what it is to do."""
    import cv2

    global _work
    _work = work
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _work_on(item: Any) -> Any:
    assert _work is not None  # noqa: S101 - set when the process began
    return _work(item)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
