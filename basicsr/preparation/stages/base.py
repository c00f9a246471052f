"""Shared parts of the stages: count files, list folders, divide a folder among processes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from basicsr.data.stores.base import FolderStore
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.masks.making import with_progress
from basicsr.preparation.plan import Plan
from basicsr.preparation.worker_pool import Pool, PoolResult
from basicsr.utils.errors import DataError


class StageCounts(NamedTuple):
    """Number of files written, number of existing files kept, and the error message of each failed file."""

    made: int
    kept: int
    failed: dict[str, str]


@dataclass(frozen=True)
class FolderShare:
    """Every ``count``-th image of a folder from the ``index``-th on, for one process that loads a network first.

    Args:
        source: folder of images.
        target: folder of the results.
        index: number of the share.
        count: number of shares.
        again: write files again that exist.
        shown: show a progress bar.
    """

    source: Path
    target: Path
    index: int
    count: int
    again: bool
    shown: bool

    def __str__(self) -> str:
        return str(self.source)

    def progress(self, images: Iterable[Path]) -> Iterable[Path]:
        """Wrap the images of this share in a progress bar, if it has one."""
        return with_progress(images) if self.shown else images


def run_shares(
    work: Callable[[FolderShare, Any], StageCounts], plan: Plan, source: Path, target: Path, argument: Any, pool: Pool
) -> StageCounts:
    """Call ``work(share, argument)`` for one share of a folder per process, and add up the counts.

    Raises:
        DataError: the folder does not exist, or a share failed before its first image.
    """
    if not source.is_dir():
        raise DataError(f'{source}: no such folder; run the previous stage first')
    count = min(plan.workers, len(files_in(source)))
    # only the first share has a bar: other processes cannot update it
    shares = [FolderShare(source, target, i, count, plan.force, pool.shown and i == 0) for i in range(count)]
    done = pool.run(work, [(share, argument) for share in shares])
    if done.failed:
        raise DataError('\n'.join(dict.fromkeys(done.failed.values())))
    return total(done.results)


def total(parts: Iterable[StageCounts]) -> StageCounts:
    """Add up counts."""
    made, kept, failed = 0, 0, dict[str, str]()
    for part in parts:
        made, kept, failed = made + part.made, kept + part.kept, failed | part.failed
    return StageCounts(made, kept, failed)


def sum_of_jobs(done: PoolResult[tuple[int, int]]) -> StageCounts:
    """Add up jobs that return the number of files written and the number of existing files kept."""
    return StageCounts(sum(made for made, _ in done.results), sum(kept for _, kept in done.results), done.failed)


def files_in(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """List the files of a folder and its sub-folders.

    Raises:
        DataError: the folder does not exist or has no such files.
    """
    return [folder / key for key in FolderStore(folder, suffixes).keys]
