"""Open the store that an option file describes; unpack a store into a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import get_args

from basicsr.data.stores.base import DISK, Backend, FolderStore, IoBackend, Store
from basicsr.data.stores.lmdb import LmdbStore
from basicsr.data.stores.raw import RawStore
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.utils.errors import ArgumentError
from basicsr.utils.files import inside, new_path, whole_folder


def open_store(root: str | Path, io_backend: IoBackend = DISK, suffixes: Collection[str] = IMAGE_SUFFIXES) -> Store:
    """Open the store that an option file describes.

    Args:
        root: folder of files, LMDB folder, or raw store.
        io_backend: ``{type: disk}``, ``{type: lmdb}`` or ``{type: raw}``.
        suffixes: file types to take from a folder.

    Raises:
        ArgumentError: a different back-end.
        DataError: there is no such store.
    """
    kind = io_backend.get('type') if isinstance(io_backend, Mapping) else None
    if kind not in get_args(Backend) or len(io_backend) > 1:
        raise ArgumentError(f'io_backend must be {{type: disk}}, {{type: lmdb}} or {{type: raw}}, not {io_backend}')
    if kind == 'disk':
        return FolderStore(root, suffixes)
    return LmdbStore(root) if kind == 'lmdb' else RawStore(root)


def unpack(store: Store, target: str | Path, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> int:
    """Write everything in a store into a folder: files as they were packed, arrays as PNG.

    Args:
        store: the store.
        target: the folder, which must not exist; it is created only if all files can be written.
        progress: wraps the list of keys, to show progress.

    Returns:
        number of files.

    Raises:
        DataError: the target exists, the store is damaged, or one of its names is outside of the folder.
    """
    target = new_path(target)
    with whole_folder(target) as temporary:
        for key in progress(store.keys):
            path = inside(temporary, store.file_name(key), store.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            store.extract(key, path)
    return len(store.keys)
