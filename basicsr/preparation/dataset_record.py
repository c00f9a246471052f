"""The record of a prepared data set, ``dataset.json``: the set, the settings of each stage, the failed files."""

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
from basicsr.utils.files import read_json

RECORD = 'dataset.json'
_LOCK = '.preparing'


def read_dataset_record(folder: Path) -> dict[str, Any]:
    """Read the record of a prepared data set; return an empty one if the file does not exist.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    record = read_json(path, DataError, 'remove it and prepare the set again')
    if not isinstance(record, dict) or not isinstance(record.get('stages', {}), dict):
        raise DataError(f'{path}: not the record of a data set; remove it and prepare the set again')
    return record


def write_dataset_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record, complete or not at all."""
    save_bytes(folder / RECORD, f'{json.dumps(record, indent=2, ensure_ascii=False, sort_keys=True)}\n'.encode())


def digest(settings: Any) -> str:
    """Return a short hash of settings; equal settings have equal hashes."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def claim_stage(
    folder: Path, record: dict[str, Any], stage: str, part: str, settings: dict[str, Any], force: bool
) -> bool:
    """Record the settings of a stage before its first file, or compare them with those of the last run.

    Returns:
        whether to write all files again: with ``force``, or if a run with ``force`` was interrupted.

    Raises:
        DataError: the existing files were made with other settings.
    """
    parts = record.setdefault('stages', {}).setdefault(stage, {})
    before = parts.get(part, {}).get('settings', settings)
    if before != settings and not force:
        keys = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
        shown = '; '.join(f'{key}: {before.get(key)} before, {settings.get(key)} now' for key in keys)
        raise DataError(
            f"{folder / part}: stage '{stage}' was run with other settings ({shown}). Use another --out, or pass "
            '--force to recreate its files'
        )
    again = force or bool(parts.get(part, {}).get('making_again'))
    parts[part] = {'settings': settings, **({'making_again': True} if again else {})}
    write_dataset_record(folder, record)
    return again


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock a folder against other runs, and remove incomplete files of a killed run.

    Raises:
        DataError: another run uses the folder.
        OutputError: the folder cannot be created or locked.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open('wb')
    with lock:
        _take(lock, folder)
        _remove_incomplete(folder)
        yield
        (folder / _LOCK).unlink(missing_ok=True)


def _take(lock: Any, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows has no such lock
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f'{folder}: another prepare_data is running here; wait until it ends') from error
    except OSError as error:
        raise OutputError(f'{folder}: cannot be locked ({error.strerror}); use a folder on a different disk') from error


def _remove_incomplete(folder: Path) -> None:
    """Remove incomplete files and LMDB, whose names start with a dot."""
    for path in [*folder.glob('.*.part'), *folder.glob('*/*/.*.part'), *folder.glob('*/*/**/.*.part')]:
        if not path.is_dir():
            path.unlink(missing_ok=True)
    for path in [*folder.glob('.*.part'), *folder.glob('*/.*.lmdb')]:
        shutil.rmtree(path, ignore_errors=True)
