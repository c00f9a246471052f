"""Uncompressed arrays in one memory-mapped file, to train at memory speed.

``<name>.raw/`` has ``data.bin``, the pixels of all arrays, and ``index.json``, their offsets, dtypes and shapes. A
crop reads only the rows it needs; nothing is decoded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from basicsr.data.stores.base import FileStore, Store
from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.masks.files import of_size, write_label_map
from basicsr.masks.label_map import small_labels
from basicsr.utils.errors import DataError
from basicsr.utils.files import new_path, whole_folder
from basicsr.utils.signature import NotNegative, Positive

logger = logging.getLogger(__name__)

StoreKind = Literal['images', 'masks', 'gray']
_FORMAT: Literal['basicsr raw store 1'] = 'basicsr raw store 1'
_ALIGNMENT = 64


class RawStore(Store):
    """A raw store, which returns read-only views of the memory-mapped file.

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
        if not data.is_file() or data.stat().st_size != index.bytes:
            raise DataError(f'{data}: missing or truncated, expected {index.bytes} bytes; recreate the store')
        self.kind: StoreKind = index.kind
        self._entries = index.entries
        self.keys = sorted(self._entries)
        self._bytes: NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_bytes': None}  # another process maps the file itself

    def file_name(self, key: str) -> str:
        """Return the name of the array as a PNG file."""
        return f'{key}.png'

    def extract(self, key: str, target: Path) -> None:
        """Write an array as PNG."""
        array = self._array(key, 'images', 'masks', 'gray')
        (write_label_map if self.kind == 'masks' else imwrite)(target, array)

    def path(self, key: str) -> str:
        """Return the path of the store with the key."""
        return str(self.root / key)

    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """Return a view (H, W, C) of the file; see :meth:`Store.image`."""
        image = self._array(key, 'images', 'gray')
        if channels == 3 and image.shape[2] == 1:
            return np.broadcast_to(image, (*image.shape[:2], 3))
        if channels == 1 and image.shape[2] == 3:
            raise DataError(f'{self.path(key)}: has RGB images, expected gray; make the store from gray images')
        return image

    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """Return a view (L, H, W) of the file; see :meth:`Store.labels`."""
        return of_size(self._array(key, 'masks'), self.path(key), size)

    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return a view (H, W) of the file; see :meth:`Store.gray`."""
        return of_size(self._array(key, 'gray')[..., 0], self.path(key), size)

    def _array(self, key: str, *kinds: StoreKind) -> Array:
        if self.kind not in kinds:
            raise DataError(f'{self.root}: contains {self.kind}, expected {kinds[0]}; is it the right folder?')
        if self._bytes is None:
            self._bytes = _map(self.root)
        offset, dtype, shape = self._entries[key]
        return np.frombuffer(self._bytes, dtype, math.prod(shape), offset).reshape(shape)


def write_raw(
    source: FileStore,
    target: str | Path,
    kind: StoreKind,
    threads: int = 1,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> int:
    """Decode all files of a folder or LMDB into a raw store.

    It is written under a temporary name and renamed at the end, so it is never incomplete.

    Args:
        source: images or mask files.
        target: ``<name>.raw``, which must not exist.
        kind: 'images' (any number of bits), 'masks' (label maps, ids above 255 renumbered as data sets do it), 'gray'
            (gray mask images of the CAT method).
        threads: files decoded at a time.
        progress: wraps the list of keys, to show how far it is.

    Returns:
        number of files.

    Raises:
        DataError: the target exists or has a different ending.
        ImageFileError: an image cannot be read.
        MaskError: a mask file cannot be read.
        OSError: the disk is full or the folder cannot be written.
    """
    target = new_path(target, '.raw')
    entries: dict[str, Any] = {}
    with whole_folder(target) as temporary, (temporary / 'data.bin').open('wb') as file:
        for key, array in _decoded(source, kind, threads, progress):
            file.write(b'\0' * (-file.tell() % _ALIGNMENT))
            entries[source.stem(key)] = file.tell(), array.dtype.name, array.shape
            file.write(np.ascontiguousarray(array).data)
        index = _Index(kind=kind, bytes=file.tell(), entries=entries)
        file.close()
        (temporary / 'index.json').write_text(index.model_dump_json(), encoding='utf-8')
    logger.info('%s: %d %s from %s', target, len(entries), kind, source.root)
    return len(entries)


def _decoded(
    source: FileStore, kind: StoreKind, threads: int, progress: Callable[[Iterable[str]], Iterable[str]]
) -> Iterator[tuple[str, Array]]:
    """Yield keys and arrays in order; threads decode a few files ahead."""

    def decode(key: str) -> Array:
        if kind == 'images':
            return source.image(key)
        return small_labels(source.labels(key)) if kind == 'masks' else source.gray(key)[..., None]

    keys = iter(progress(source.keys))
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(keys, 4 * threads)):
            yield from zip(some, pool.map(decode, some), strict=True)


class _Index(BaseModel):
    """The content of ``index.json``."""

    model_config = ConfigDict(strict=True)

    format: Literal['basicsr raw store 1'] = _FORMAT
    kind: StoreKind
    bytes: int
    entries: Annotated[
        dict[str, tuple[NotNegative, Literal['uint8', 'uint16', 'int32'], tuple[Positive, Positive, Positive]]],
        Field(min_length=1),
    ]

    @model_validator(mode='after')
    def _fits(self) -> _Index:
        for key, (offset, dtype, shape) in self.entries.items():
            width = np.dtype(dtype).itemsize
            if offset % width or offset + width * math.prod(shape) > self.bytes:
                raise ValueError(f'{key} is not in the store')
        return self


def _read_index(root: Path) -> _Index:
    path = root / 'index.json'
    try:
        return _Index.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(
            f'{path}: cannot be read ({error.strerror or error}); a raw store is made by scripts/make_store.py'
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = '.'.join(map(str, first['loc']))
        raise DataError(f'{path}: damaged ({where}: {first["msg"]}); recreate the store') from error


def _map(root: Path) -> NDArray[np.uint8]:
    path = root / 'data.bin'
    try:
        mapped = np.memmap(path, np.uint8, mode='r')
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read ({error}); recreate the store') from error
    return mapped.view(np.ndarray)
