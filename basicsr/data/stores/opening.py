"""Open the store that an option file describes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import get_args

from basicsr.data.stores.base import DISK, Backend, FolderStore, IoBackend, Store
from basicsr.data.stores.lmdb import LmdbStore
from basicsr.data.stores.raw import RawStore
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.utils.errors import ArgumentError


def open_store(root: str | Path, io_backend: IoBackend = DISK, suffixes: Collection[str] = IMAGE_SUFFIXES) -> Store:
    """The store that an option file describes.

    Args:
        root: folder of files, LMDB folder, or raw store.
        io_backend: ``{type: disk}``, ``{type: lmdb}`` or ``{type: raw}``.
        suffixes: file types to take from a folder.

    Raises:
        ArgumentError: another back-end.
        DataError: there is no such store.
    """
    kind = io_backend.get('type') if isinstance(io_backend, Mapping) else None
    if kind not in get_args(Backend) or len(io_backend) > 1:
        raise ArgumentError(f'io_backend is {{type: disk}}, {{type: lmdb}} or {{type: raw}}, not {io_backend}')
    if kind == 'disk':
        return FolderStore(root, suffixes)
    return LmdbStore(root) if kind == 'lmdb' else RawStore(root)
