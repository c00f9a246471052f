"""Uncompressed arrays in one memory-mapped file: for training at the speed of the memory.

``<name>.raw/`` holds ``data.bin``, the pixels of all arrays one after the other, and ``index.json``, which says where
each starts and what it is. A crop reads only the rows it needs; nothing is decoded.
"""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from basicsr.data.stores.base import FileStore, Store
from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.masks.files import write_label_map
from basicsr.masks.label_map import small_labels
from basicsr.utils.errors import DataError, MaskError
from basicsr.utils.files import inside, refuse_existing, whole_folder

logger = logging.getLogger(__name__)

Kind = Literal['images', 'masks', 'gray']
_FORMAT = 'basicsr raw store 1'
_DTYPES = ('uint8', 'uint16', 'int32')
_ALIGNMENT = 64


class RawStore(Store):
    """The arrays of a raw store; what it returns are read-only views of the memory-mapped file.

    Args:
        root: ``<name>.raw``; ``~`` is the home.

    Raises:
        DataError: no such store, or it is damaged.
    """

    closed = True

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        index = _read_index(self.root)
        data = self.root / 'data.bin'
        if not data.is_file() or data.stat().st_size != index['bytes']:
            raise DataError(f'{data}: missing or cut off, it should have {index["bytes"]} bytes; make the store again')
        self.kind: Kind = index['kind']
        self._entries: dict[str, tuple[int, str, tuple[int, ...]]] = {
            key: (offset, dtype, tuple(shape)) for key, (offset, dtype, shape) in index['entries'].items()
        }
        self.keys = sorted(self._entries)
        self._bytes: NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_bytes': None}  # another process maps the file itself

    def stem(self, key: str) -> str:
        """The key itself."""
        return key

    def path(self, key: str) -> str:
        """The store, and the key in it."""
        return str(self.root / key)

    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """A view (H, W, C) of the file; see :meth:`Store.image`."""
        image = self._array(key, 'images', 'gray')
        if channels == 3 and image.shape[2] == 1:
            return np.broadcast_to(image, (*image.shape[:2], 3))
        if channels == 1 and image.shape[2] == 3:
            raise DataError(f'{self.path(key)}: holds colours, and gray was asked for; make the store of gray images')
        return image

    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """A view (L, H, W) of the file; see :meth:`Store.labels`."""
        labels = self._array(key, 'masks')
        if size is not None and labels.shape[1:] != tuple(size):
            raise MaskError(f'{self.path(key)}: the masks have {labels.shape[1:]} pixels (H, W), the image {size}')
        return labels

    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """A view (H, W) of the file; see :meth:`Store.gray`."""
        gray = self._array(key, 'gray')[..., 0]
        if size is not None and gray.shape != tuple(size):
            raise MaskError(f'{self.path(key)}: the picture has {gray.shape} pixels (H, W), the image {size}')
        return gray

    def _array(self, key: str, *kinds: Kind) -> Array:
        if self.kind not in kinds:
            raise DataError(
                f'{self.root}: a store of {self.kind}, where {kinds[0]} are needed; is it the right folder?'
            )
        if self._bytes is None:
            self._bytes = _map(self.root)
        offset, dtype, shape = self._entries[key]
        kind = np.dtype(dtype)
        end = offset + kind.itemsize * int(np.prod(shape))
        return self._bytes[offset:end].view(kind).reshape(shape)


def write_raw(
    source: FileStore,
    target: str | Path,
    kind: Kind,
    threads: int = 1,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> int:
    """Decode all files of a folder or LMDB into a raw store.

    It is written beside the target and renamed at the end, so it exists complete or not at all.

    Args:
        source: images or mask files.
        target: ``<name>.raw``, which must not exist.
        kind: 'images' (any number of bits), 'masks' (label maps, ids above 255 renumbered as data sets do it), 'gray'
            (pictures of the CAT method).
        threads: files decoded at a time.
        progress: wraps the list of keys, to show how far it is.

    Returns:
        number of files.

    Raises:
        DataError: the target exists or has another ending.
        ImageFileError: an image cannot be read.
        MaskError: a mask file cannot be read.
        OSError: the disk is full or the folder cannot be written.
    """
    target = Path(target).expanduser()
    if target.suffix != '.raw':
        raise DataError(f"{target}: the name of a raw store ends with '.raw'")
    refuse_existing(target)
    entries: dict[str, Any] = {}
    with whole_folder(target) as temporary, (temporary / 'data.bin').open('wb') as file:
        for key, array in _decoded(source, kind, threads, progress):
            file.write(b'\0' * (-file.tell() % _ALIGNMENT))
            entries[source.stem(key)] = [file.tell(), array.dtype.name, array.shape]
            file.write(np.ascontiguousarray(array).data)
        index = {'format': _FORMAT, 'kind': kind, 'bytes': file.tell(), 'entries': entries}
        file.close()
        (temporary / 'index.json').write_text(json.dumps(index, ensure_ascii=False), encoding='utf-8')
    logger.info('%s: %d %s from %s', target, len(entries), kind, source.root)
    return len(entries)


def unpack_raw(
    source: str | Path, target: str | Path, progress: Callable[[Iterable[str]], Iterable[str]] = iter
) -> int:
    """Write every array of a raw store into a folder as PNG.

    Args:
        source: ``<name>.raw``.
        target: the folder, which must not exist; it appears complete or not at all.
        progress: wraps the list of keys, to show how far it is.

    Returns:
        number of files.

    Raises:
        DataError: the target exists, the store is damaged, or one of its names leads out of the folder.
    """
    store, target = RawStore(source), Path(target).expanduser()
    refuse_existing(target)
    with whole_folder(target) as temporary:
        for key in progress(store.keys):
            path = inside(temporary, f'{key}.png', store.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            array = store._array(key, 'images', 'masks', 'gray')
            if store.kind == 'masks':
                write_label_map(path, array)
            else:
                imwrite(path, array)
    return len(store.keys)


def _decoded(
    source: FileStore, kind: Kind, threads: int, progress: Callable[[Iterable[str]], Iterable[str]]
) -> Iterator[tuple[str, Array]]:
    """Keys and arrays in order; a few files ahead are decoded in threads."""

    def decode(key: str) -> Array:
        if kind == 'images':
            return source.image(key)
        return small_labels(source.labels(key)) if kind == 'masks' else source.gray(key)[..., None]

    waiting: deque[tuple[str, Future[Array]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for key in progress(source.keys):
                waiting.append((key, pool.submit(decode, key)))
                if len(waiting) > 2 * threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _read_index(root: Path) -> dict[str, Any]:
    """The checked content of ``index.json``."""
    path = root / 'index.json'
    try:
        index = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise DataError(
            f'{path}: cannot be read ({error.strerror or error}); a raw store is made by scripts/make_store.py'
        ) from error
    except ValueError as error:
        raise DataError(f'{path}: damaged ({error}); make the store again') from error
    if not isinstance(index, dict) or index.get('format') != _FORMAT or index.get('kind') not in get_args(Kind):
        raise DataError(f"{path}: is not of the format '{_FORMAT}'; make the store again")
    entries, size = index.get('entries'), index.get('bytes')
    if not isinstance(entries, dict) or not entries or not all(_is_entry(entry, size) for entry in entries.values()):
        raise DataError(f'{path}: lists no files, or some that are not in the store; make the store again')
    return index


def _is_entry(entry: Any, size: Any) -> bool:
    if not (isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], list) and isinstance(size, int)):
        return False
    offset, dtype, shape = entry
    if dtype not in _DTYPES or not all(type(number) is int and number > 0 for number in shape) or len(shape) != 3:
        return False
    width = np.dtype(dtype).itemsize
    return type(offset) is int and offset >= 0 and offset % width == 0 and offset + width * math.prod(shape) <= size


def _map(root: Path) -> NDArray[np.uint8]:
    path = root / 'data.bin'
    try:
        mapped = np.memmap(path, np.uint8, mode='r')
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({error}); make the store again') from error
    return mapped.view(np.ndarray)
