"""The private folder of a running page: gone when it ends, emptied of what is old while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

if sys.platform != 'win32':  # there the folders of killed pages stay until somebody empties the temporary files
    import fcntl

PREFIX = 'deblur-page-'
_LOCK = 'lock'  # held as long as the page lives, so that the folder of a killed one can be told
_UNLOCKED_SECONDS = 60


@contextlib.contextmanager
def private_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder that only its owner can enter, removed at the end; folders of killed pages are removed first.

    Args:
        parent: where it is made; the system's folder of temporary files if None.

    Raises:
        OSError: the folder cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent)).resolve()
    try:
        with (folder / _LOCK).open('wb') as lock:
            if sys.platform != 'win32':
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of pages that were killed; those of living pages and of other users stay."""
    if sys.platform == 'win32':
        return
    for folder in parent.glob(f'{PREFIX}*'):
        with contextlib.suppress(OSError):  # in use, or not ours
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            if not (folder / _LOCK).exists():  # just made, or filled by what was in work when its page ended
                if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            with (folder / _LOCK).open('rb+') as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def remove_old(folder: Path, seconds: float, kept: Collection[Path] = ()) -> None:
    """Remove all files below a folder that have not changed for so long, and folders that are empty then.

    Args:
        folder: stays itself.
        seconds: the age.
        kept: files that stay whatever their age.
    """
    limit = time.time() - seconds
    for place, _, names in os.walk(folder, topdown=False):
        for path in (Path(place) / name for name in names):
            with contextlib.suppress(OSError):  # gone meanwhile
                if path not in kept and path.lstat().st_mtime < limit:
                    path.unlink()
        with contextlib.suppress(OSError):  # not empty
            if Path(place) != folder and Path(place).stat().st_mtime < limit:
                Path(place).rmdir()


@contextlib.contextmanager
def swept(folder: Path, seconds: float, every: float = 60.0) -> Iterator[None]:
    """While this is open, files that come into a folder are removed when they are old; those there before stay.

    Args:
        folder: see :func:`remove_old`.
        seconds: how old files become.
        every: seconds between two rounds.
    """
    kept = {path for path in folder.rglob('*') if path.is_file()}
    ended = threading.Event()

    def sweep() -> None:
        while not ended.wait(every):
            remove_old(folder, seconds, kept)

    thread = threading.Thread(target=sweep, name='sweeper', daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
