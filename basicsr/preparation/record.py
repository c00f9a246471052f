"""The record beside a prepared data set, ``dataset.json``: what it is, how each stage was done, and what is missing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from basicsr.preparation.output_files import save_bytes, writing
from basicsr.utils.errors import DataError, OutputError

RECORD = 'dataset.json'
_LOCK = '.preparing'


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a prepared data set; empty if there is none.

    Raises:
        DataError: it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: damaged ({error}); remove it and prepare the set again') from error
    if not isinstance(record, dict) or not isinstance(record.get('stages', {}), dict):
        raise DataError(f'{path}: is no record of a data set; remove it and prepare the set again')
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record, whole or not at all."""
    save_bytes(folder / RECORD, f'{json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True)}\n'.encode())


def digest(settings: Any) -> str:
    """Names settings in a record; equal settings have equal digests."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def claim(folder: Path, record: dict[str, Any], stage: str, part: str, settings: dict[str, Any], force: bool) -> bool:
    """Note the settings of a stage before its first file, or make sure that they are those of the last run.

    Returns:
        whether all files are to be made again: ``force``, now or in a run that was interrupted since.

    Raises:
        DataError: the files there were made with other settings.
    """
    parts = record.setdefault('stages', {}).setdefault(stage, {})
    before = parts.get(part, {}).get('settings', settings)
    if before != settings and not force:
        keys = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        shown = '; '.join(f'{key}: {before.get(key)} before, {settings.get(key)} now' for key in keys)
        raise DataError(
            f"{folder / part}: stage '{stage}' was done with other settings ({shown}). Use another --out, or --force "
            'to make its files again'
        )
    again = force or bool(parts.get(part, {}).get('making_again'))
    parts[part] = {'settings': settings, **({'making_again': True} if again else {})}
    write_record(folder, record)
    return again


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, and remove what a killed one left half-written.

    Raises:
        DataError: another run is at work there.
        OutputError: the folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open('wb')
    try:
        _take(lock, folder)
        _sweep(folder)
        yield
        (folder / _LOCK).unlink(missing_ok=True)
    finally:
        lock.close()


def _take(lock: Any, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: nothing keeps two runs apart there
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f'{folder}: another prepare_data is at work here; wait until it is done') from error
    except OSError as error:
        raise OutputError(f'{folder}: cannot be locked ({error.strerror}); use a folder on another disk') from error


def _sweep(folder: Path) -> None:
    """Half-written files and LMDB of a run that was killed: their names begin with a dot."""
    for path in [*folder.glob('.*.part'), *folder.glob('*/*/.*.part'), *folder.glob('*/*/**/.*.part')]:
        path.unlink(missing_ok=True)
    for path in folder.glob('*/.*.lmdb'):
        shutil.rmtree(path, ignore_errors=True)
