"""The private folder of a running page: removed when the page ends; old files are removed while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

if sys.platform != 'win32':  # there the folders of killed pages stay in the temporary files
    import fcntl

PREFIX = 'deblur-page-'
_LOCK = 'lock'  # held while the page runs, so that folders of killed pages can be recognised
_UNLOCKED_SECONDS = 60


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """Create a folder that only its owner can enter, and remove it at the end; first remove those of killed pages.

    Args:
        parent: folder for it; None is the system's folder of temporary files.

    Raises:
        OSError: the folder cannot be created.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_abandoned(parent)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        with (folder / _LOCK).open('wb') as lock:
            if sys.platform != 'win32':
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of killed pages; keep those of running pages and of other users."""
    if sys.platform == 'win32':
        return
    for folder in parent.glob(f'{PREFIX}*'):
        with contextlib.suppress(OSError):  # in use, or not ours
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).exists():  # just created, or written to after its page ended
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with (folder / _LOCK).open('rb+') as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def remove_old(folder: Path, seconds: float, kept: Collection[Path] = ()) -> None:
    """Remove old files below a folder, and sub-folders that are empty then.

    Args:
        folder: the folder, which is kept.
        seconds: minimum age of the files.
        kept: files to keep at any age, and folders to leave as they are.
    """
    limit, spared = time.time() - seconds, frozenset(kept)
    for place, _, names in os.walk(folder, topdown=False):
        if not spared.isdisjoint([Path(place), *Path(place).parents]):
            continue
        for path in (Path(place) / name for name in names):
            with contextlib.suppress(OSError):  # removed meanwhile
                if path not in spared and path.lstat().st_mtime < limit:
                    path.unlink()
        with contextlib.suppress(OSError):  # not empty
            if Path(place) != folder and Path(place).stat().st_mtime < limit:
                Path(place).rmdir()


@contextlib.contextmanager
def swept(folder: Path, seconds: float, every: float = 60.0, spared: Collection[Path] = ()) -> Iterator[None]:
    """Remove old files from a folder regularly while the block runs; keep the files of its start.

    Args:
        folder: see :func:`remove_old`.
        seconds: maximum age of files.
        every: interval in seconds.
        spared: folders to leave as they are.
    """
    kept = {path for path in folder.rglob('*') if path.is_file()}
    with regularly(partial(remove_old, folder, seconds, {*kept, *spared}), every):
        yield


@contextlib.contextmanager
def regularly(act: Callable[[], None], every: float) -> Iterator[None]:
    """Call a function regularly while the block runs.

    Args:
        act: the function.
        every: interval in seconds.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every):
            act()

    thread = threading.Thread(target=work, name='sweeper', daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
