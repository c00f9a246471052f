"""The record of the settings of masks in a folder, which prevents mixing masks of different settings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from basicsr.utils.errors import MaskError
from basicsr.utils.files import read_json, write_whole
from basicsr.version import __version__

RECORD = 'masks.json'


def read_mask_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of a folder of masks; None without one.

    Raises:
        MaskError: the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    record = read_json(path, MaskError, 'remove it and recreate the masks')
    if not isinstance(record, dict) or not isinstance(record.get('settings', {}), dict):
        raise MaskError(f'{path}: contains no settings; remove it and recreate the masks')
    return record


def stamp_of(settings: dict[str, Any]) -> str:
    """Return 16 letters that identify settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def claim_mask_folder(folder: Path, settings: dict[str, Any], force: bool) -> None:
    """Write the record of a folder of masks, or check that an existing one has the same settings.

    Args:
        folder: created if missing.
        settings: all settings of the masks, as plain values.
        force: replace any record.

    Raises:
        MaskError: the folder contains masks of other settings, or its record is damaged; not with ``force``.
        OSError: the folder cannot be written, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = None if force else read_mask_record(folder)
    if record is not None and record.get('settings') != settings:
        before = record.get('settings', {})
        differing = sorted(key for key in {*settings, *before} if settings.get(key) != before.get(key))
        raise MaskError(
            f'{folder} contains masks made with other settings ({", ".join(differing)} differ); '
            'use another folder, or pass --force to recreate all of them'
        )
    text = json.dumps({'settings': settings, 'basicsr': __version__}, indent=2, sort_keys=True)
    write_whole(folder / RECORD, f'{text}\n'.encode())
