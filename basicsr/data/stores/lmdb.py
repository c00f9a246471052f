"""Read and write LMDB databases in the original's layout."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2
import numpy as np

from basicsr.data.stores.base import FileStore, FolderStore
from basicsr.data.stores.lmdb_pages import check_pages
from basicsr.images.files import IMAGE_SUFFIXES, decode_image
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.masks.files import decode_masks, encode_label_map
from basicsr.utils.errors import DataError
from basicsr.utils.files import new_path, read_file, whole_folder

logger = logging.getLogger(__name__)

LmdbKind = Literal['images', 'masks']
LONGEST_KEY = 511  # bytes, a limit of LMDB

_META_LINE = re.compile(r'^(.+) \([\d, ]+\)(?: \d+)?$')
_FIRST_MAP_SIZE = 1 << 24

# An LMDB may be opened once in a process, and a process that was forked must open it again.
_environments: dict[str, tuple[int, tuple[int, int], Any]] = {}  # path: process, identity of the file, environment
_opening = threading.Lock()  # threads that read for the first time at once would open it twice


class LmdbStore(FileStore):
    """An LMDB in the original's layout: ``<name>.lmdb/`` with ``data.mdb`` and ``meta_info.txt``.

    Keys are file names without their last extension; names with dots work. It is opened at the first reading in
    each process, without locks and read-ahead.

    Args:
        root: the folder; ``~`` is the home.

    Raises:
        DataError: not such a folder, or it lists no files.
    """

    closed = True

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        if self.root.suffix != '.lmdb':
            raise DataError(f"{self.root}: an LMDB is a folder whose name ends with '.lmdb'")
        for name in ('data.mdb', 'meta_info.txt'):
            if not (self.root / name).is_file():
                raise DataError(f'{self.root}: no {name} in this folder; recreate the LMDB')
        names = _names_in(self.root / 'meta_info.txt')
        self._names = {str(PurePosixPath(name).with_suffix('')): name for name in names}
        if not names or len(self._names) < len(names):
            problem = 'the same key twice' if names else 'no files'
            raise DataError(f'{self.root / "meta_info.txt"}: lists {problem}; recreate the LMDB')
        self.keys = sorted(self._names)

    def file_name(self, key: str) -> str:
        """Return the name that the file had."""
        return self._names[key]

    def read(self, key: str) -> bytes:
        """Return the value of the key."""
        import lmdb

        try:
            with _opening:
                environment = _open(self.root)
            with environment.begin() as transaction:
                value = transaction.get(key.encode())
        except lmdb.Error as error:
            raise DataError(f'{self.root}: cannot be read ({error}); recreate the LMDB') from error
        if value is None:
            raise DataError(f"{self.root}: has no key '{key}', which its meta_info.txt lists; recreate the LMDB")
        return bytes(value)


def write_lmdb(
    source: str | Path,
    target: str | Path,
    kind: LmdbKind = 'images',
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> int:
    """Make an LMDB of the original's layout from a folder.

    It is written under a temporary name and renamed at the end, so it is never incomplete.

    Args:
        source: the folder, with its sub-folders.
        target: ``<name>.lmdb``, which must not exist.
        kind: 'images' become PNG; 'masks' are checked: ``.npz`` of the original and PNG are kept byte for byte, those
            of other tools become label maps.
        progress: wraps the list of keys, to show how far it is.

    Returns:
        number of files.

    Raises:
        DataError: the target exists or has a different ending, the folder has no files, or two files share a key.
        ImageFileError: an image cannot be read.
        MaskError: a mask file cannot be read.
    """
    target = new_path(target, '.lmdb')
    store = FolderStore(source, IMAGE_SUFFIXES if kind == 'images' else MASK_SUFFIXES)
    stems = [store.stem(key) for key in store.keys]
    twice = sorted(stem for stem, count in Counter(stems).items() if count > 1)
    if twice:
        raise DataError(f'{store.root}: several files for one key: {", ".join(twice[:20])}')
    too_long = [stem for stem in stems if len(stem.encode()) > LONGEST_KEY]
    if too_long:
        raise DataError(f'{store.root}: names in an LMDB have at most {LONGEST_KEY} bytes; shorten {too_long[0]}')
    import lmdb

    with whole_folder(target) as temporary:
        try:
            _fill(temporary, store, _image_entry if kind == 'images' else _mask_entry, progress)
        except lmdb.Error as error:
            reason = str(error).removeprefix(f'{temporary}: ')
            raise DataError(f'{target}: cannot be written ({reason}); is the disk full?') from error
    logger.info('%s: %d %s from %s', target, len(stems), kind, store.root)
    return len(stems)


def _names_in(path: Path) -> list[str]:
    try:
        lines = read_file(path).decode()
    except UnicodeDecodeError as error:
        raise DataError(f'{path}: not UTF-8 text (byte {error.start}); recreate the LMDB') from error
    names = [_name_of_meta_line(line) for line in lines.splitlines() if line.strip()]
    if wrong := [name for name in names if not PurePosixPath(name).name]:
        raise DataError(f'{path}: {wrong[0]!r} is not the name of a file; recreate the LMDB')
    return names


def _name_of_meta_line(line: str) -> str:
    """Return ``a b.png`` for ``a b.png (4,4,3) 1``, and ``a.npz`` for ``a.npz (2, 1, 4, 4)``."""
    match = _META_LINE.match(line.strip())
    return match.group(1) if match else line.split()[0]


def _renew_lock() -> None:
    """Replace the lock after a fork: a thread of the parent process may hold it for ever."""
    global _opening
    _opening = threading.Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew_lock)


def _open(root: Path) -> Any:
    import lmdb

    path = str(root.resolve())
    status = (root / 'data.mdb').stat()
    process, identity = os.getpid(), (status.st_dev, status.st_ino)
    known = _environments.get(path)
    if known is not None:
        if known[:2] == (process, identity):
            return known[2]
        known[2].close()  # of the process that forked this one, or of a database that was replaced
    check_pages(root / 'data.mdb')
    environment = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
    _environments[path] = process, identity, environment
    return environment


def _fill(
    folder: Path,
    store: FolderStore,
    entry: Callable[[bytes, str], tuple[bytes, str]],
    progress: Callable[[Iterable[str]], Iterable[str]],
) -> None:
    import lmdb

    size = _FIRST_MAP_SIZE
    lines = []
    # one transaction a file, none synchronised: all is flushed once at the end
    with lmdb.open(str(folder), map_size=size, sync=False, metasync=False) as environment:
        for key in progress(store.keys):
            value, suffix_and_shape = entry(store.read(key), store.path(key))
            stem = store.stem(key)
            while True:
                try:
                    with environment.begin(write=True) as transaction:
                        transaction.put(stem.encode(), value)
                    break
                except lmdb.MapFullError:
                    size *= 2
                    environment.set_mapsize(size)
            lines.append(f'{stem}{suffix_and_shape}\n')
        environment.sync(True)
    (folder / 'meta_info.txt').write_text(''.join(lines), encoding='utf-8')


def _image_entry(data: bytes, name: str) -> tuple[bytes, str]:
    image = decode_image(data, name)
    height, width, channels = image.shape
    done, png = cv2.imencode('.png', image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise DataError(f'{name}: cannot be written as PNG')
    return png.tobytes(), f'.png ({height},{width},{channels}) 1'


def _mask_entry(data: bytes, name: str) -> tuple[bytes, str]:
    labels = decode_masks(data, name)
    layers, height, width = labels.shape
    if data.startswith(b'PK') and (count := _stack_length(data)):
        return data, f'.npz ({count}, 1, {height}, {width})'
    if not data.startswith(b'\x89PNG'):
        data = encode_label_map(labels)
    return data, f'.png ({height * layers},{width},1) 1'


def _stack_length(data: bytes) -> int:
    """Return the number of masks in an ``.npz`` file of the original; 0 for other files."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return len(file['masks']) if 'masks' in file and file['masks'].ndim == 4 else 0
