"""Many small jobs in several processes: what fails is named and the rest is done; a killed parent leaves no orphans."""

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

from basicsr.utils.errors import BasicsrError, DataError, OutputError

logger = logging.getLogger(__name__)

Job = TypeVar('Job')
Result = TypeVar('Result')
Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Wraps an iterable of so many items to show how far it is; the text says what they are."""


def silent(items: Iterable[Any], count: int, title: str) -> Iterable[Any]:
    """A :data:`Progress` that shows nothing."""
    return items


def with_bar(items: Iterable[Any], count: int, title: str) -> Iterable[Any]:
    """A :data:`Progress` that shows a bar with the time that is left."""
    from tqdm import tqdm

    return tqdm(items, total=count, desc=title, dynamic_ncols=True)


@dataclass
class Done(Generic[Result]):
    """What became of some jobs.

    Args:
        results: of those that succeeded, in their order.
        failed: by name, the reasons of the others.
    """

    results: list[Result] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Pool:
    """Processes that live until the end of a ``with`` block; they start at the first work that is worth it.

    Args:
        workers: processes; 1 works in this one.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def run(
        self,
        work: Callable[[Job], Result],
        jobs: Sequence[Job],
        name_of: Callable[[Job], str],
        progress: Progress = silent,
        title: str = 'files',
    ) -> Done[Result]:
        """Call ``work`` for every job.

        Args:
            work: a function of a module; raises one of our errors where its job cannot be done.
            jobs: what can be pickled.
            name_of: the file that a message names.
            progress: shows how far it is.
            title: what the jobs are about.

        Raises:
            OutputError: nothing more can be written; jobs that were not begun are left.
            DataError: a process was killed.
        """
        done: Done[Result] = Done()
        for job, (result, error) in zip(jobs, progress(self._outcomes(work, jobs), len(jobs), title), strict=True):
            if error is None:
                done.results.append(result)
            else:
                logger.warning('%s: %s', name_of(job), error)
                done.failed[name_of(job)] = error
        return done

    def _outcomes(self, work: Callable[[Job], Any], jobs: Sequence[Job]) -> Iterator[tuple[Any, str | None]]:
        if min(self.workers, len(jobs)) <= 1:
            yield from (_attempt(work, job) for job in jobs)
            return
        if self._executor is None:
            context = multiprocessing.get_context('spawn')  # a fork would copy locks that threads of torch hold
            self._executor = ProcessPoolExecutor(self.workers, context, _begin_worker)
        try:
            futures = [self._executor.submit(_attempt, work, job) for job in jobs]
            yield from (future.result() for future in futures)
        except BrokenProcessPool as error:
            raise DataError('a worker process was killed, perhaps for want of memory; use fewer --workers') from error


def _attempt(work: Callable[[Job], Any], job: Job) -> tuple[Any, str | None]:
    """The result, or why there is none; what ends the whole run is raised."""
    try:
        return work(job), None
    except OutputError:
        raise
    except BasicsrError as error:
        return None, str(error)


def _begin_worker() -> None:
    """One thread for each process, and none that outlives its parent."""
    import cv2

    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
