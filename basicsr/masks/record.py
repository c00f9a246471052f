"""The record of how the masks in a folder were made, which keeps masks of different settings apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from basicsr.utils.errors import MaskError
from basicsr.utils.files import whole_file
from basicsr.version import __version__

RECORD = 'masks.json'


def read_record(folder: Path) -> dict[str, Any] | None:
    """How the masks in a folder were made; None if nothing is recorded.

    Raises:
        MaskError: the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise MaskError(f'{path}: damaged ({error}); remove it and make the masks again') from error
    if not isinstance(record, dict):
        raise MaskError(f'{path}: holds no settings; remove it and make the masks again')
    return record


def claim(folder: Path, settings: dict[str, Any], force: bool) -> None:
    """Write the record of a folder, or make sure that it says the same.

    Args:
        folder: made if it is missing.
        settings: all that decides the masks, as plain values.
        force: whatever the record says, or if it is damaged, it is replaced.

    Raises:
        MaskError: the folder holds masks of other settings, or its record is damaged; not with ``force``.
        OSError: the folder cannot be written, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = None if force else read_record(folder)
    if record is not None and record.get('settings') != settings:
        differing = sorted(
            key for key in {*settings, *record.get('settings', {})} if settings.get(key) != record['settings'].get(key)
        )
        raise MaskError(
            f'{folder} holds masks made with other settings ({", ".join(differing)} differ); '
            'use another folder, or --force to make all of them again'
        )
    text = json.dumps({'settings': settings, 'basicsr': __version__}, indent=2, sort_keys=True)
    with whole_file(folder / RECORD) as file:
        file.write(f'{text}\n'.encode())
