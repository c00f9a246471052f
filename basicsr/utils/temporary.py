"""Hidden files and folders with unfinished work; those of killed processes are removed by the next writer.

A process locks each of its own while it writes. The system releases the lock when the process ends, for any reason.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if sys.platform != 'win32':  # without locks, those of killed processes stay
    import fcntl

_NAME = re.compile(r'\.([0-9a-f]{4})[0-9a-f]{12}\.part(\.\w+)?')
_DAY = 24 * 3600.0


def hidden_path(folder: Path, suffix: str = '') -> Path:
    """Return a new path in a folder, short whatever the name of the result, and remove what killed processes left.

    Args:
        folder: folder of the result.
        suffix: extension, with its dot.
    """
    _remove_once(str(folder.absolute()))
    return folder / f'.{_machine()}{secrets.token_hex(6)}.part{suffix}'


@contextlib.contextmanager
def hidden_file(path: Path) -> Iterator[None]:
    """Create an empty file, locked while the block runs; remove it at the end, if it has still this name.

    Args:
        path: from :func:`hidden_path`.

    Raises:
        OSError: it cannot be created.
    """
    with _hidden(path, functools.partial(path.touch, exist_ok=False), functools.partial(path.unlink, missing_ok=True)):
        yield


@contextlib.contextmanager
def hidden_folder(path: Path) -> Iterator[None]:
    """Create a folder, locked while the block runs; remove it at the end, if it has still this name.

    Args:
        path: from :func:`hidden_path`.

    Raises:
        OSError: it cannot be created.
    """
    with _hidden(path, path.mkdir, functools.partial(_remove_tree, path)):
        yield


@contextlib.contextmanager
def _hidden(path: Path, create: Callable[[], None], remove: Callable[[], None]) -> Iterator[None]:
    try:
        with _locked(path, create):
            yield
    finally:
        remove()


def remove_abandoned(folder: Path, alone: bool = False) -> None:
    """Remove the hidden files and folders of killed processes from a folder, not from its sub-folders.

    Those of other computers are removed after a day without a change: locks may not reach from one to another.

    Args:
        folder: the folder; it may be missing.
        alone: no other computer writes into this folder, so that nothing needs to be a day old.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(Path(one.path), match[1]) for one in entries if (match := _NAME.fullmatch(one.name))]
    except OSError:
        return
    for path, machine in found:
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            if alone or machine == _machine() or time.time() - _changed(path) > _DAY:
                _remove_unlocked(path, alone)


@functools.lru_cache(1024)
def _remove_once(folder: str) -> None:
    """Look once in a process: folders may contain many files."""
    remove_abandoned(Path(folder))


@functools.lru_cache(1)
def _machine() -> str:
    """Return four digits that tell computers apart; containers of one computer share its locks and these."""
    try:
        name = Path('/proc/sys/kernel/random/boot_id').read_text()
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:4]


def _changed(path: Path) -> float:
    inside = path.rglob('*') if path.is_dir() else ()
    return max(float(one.lstat().st_mtime) for one in (path, *inside))


def _remove_unlocked(path: Path, alone: bool) -> None:
    if path.is_symlink():
        return
    if sys.platform == 'win32':
        if alone:
            _remove_tree(path) if path.is_dir() else path.unlink()
        return
    lock = _opened(path)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives
            return
        except OSError:  # a disk without locks
            if not alone:
                return
        if path.is_dir():
            _remove_tree(path)
        else:
            path.unlink()
    finally:
        os.close(lock)


@contextlib.contextmanager
def _locked(path: Path, create: Callable[[], object]) -> Iterator[None]:
    if sys.platform == 'win32':  # an open file could not be renamed
        create()
        yield
        return
    lock = _claimed(path, create)
    try:
        yield
    finally:
        os.close(lock)


def _claimed(path: Path, create: Callable[[], object]) -> int:
    """Create and lock a path; once more if another process found it without its lock, and removed it."""
    while True:
        create()
        with contextlib.suppress(FileNotFoundError):
            lock = _opened(path)
            with contextlib.suppress(OSError):  # a disk without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return lock
            os.close(lock)


def _opened(path: Path) -> int:
    how = os.O_RDONLY if path.is_dir() else os.O_RDWR  # network disks lock only what may be written
    return os.open(path, how | os.O_NOFOLLOW)


def _remove_tree(folder: Path) -> None:
    """Remove a folder, even if the process is interrupted."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
