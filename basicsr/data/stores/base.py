"""Where samples lie: folders of files here, LMDB and raw arrays in modules of their own, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from basicsr.images.arrays import Array
from basicsr.images.files import IMAGE_SUFFIXES, decode_image
from basicsr.masks.files import SUFFIXES as MASK_SUFFIXES
from basicsr.masks.files import decode_gray, decode_masks, encode_label_map, mask_files_below, read_masks, stem_of
from basicsr.masks.other_tools import METADATA
from basicsr.utils.errors import DataError
from basicsr.utils.files import files_below

Backend = Literal['disk', 'lmdb', 'raw']
IoBackend = dict[Literal['type'], Backend]
DISK: IoBackend = {'type': 'disk'}


class Store(ABC):
    """Images or mask files by key. A store holds no open file, so it can be pickled and sent to worker processes."""

    root: Path
    """The folder."""
    keys: list[str]
    """The keys of all files, sorted."""
    closed: ClassVar[bool]
    """Whether every file in it must find its partners (a data base), or others may lie beside them (a folder)."""

    @abstractmethod
    def stem(self, key: str) -> str:
        """What partners share: the key without its extension; sub-folders and other dots stay."""

    def file_name(self, key: str) -> str:
        """Return the name of the file outside of the store."""
        return key

    @abstractmethod
    def extract(self, key: str, target: Path) -> None:
        """Write what the store has under a key to a file."""

    @abstractmethod
    def path(self, key: str) -> str:
        """Where the file lies, for messages and results."""

    @abstractmethod
    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """An image (H, W, C) RGB, uint8 or uint16; it may be read-only.

        Args:
            key: one of ``keys``.
            channels: 3 turns gray into RGB, 1 turns colours into gray, None keeps what is there.

        Raises:
            DataError: it cannot be read; it is named.
            ImageFileError: it is broken, or no image.
        """

    @abstractmethod
    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """A label map (L, H, W) of integers; it may be read-only.

        Args:
            key: one of ``keys``.
            size: (H, W) that it must have; None takes any.

        Raises:
            DataError: it cannot be read; it is named.
            MaskError: it is broken, no label map, or of another size.
        """

    @abstractmethod
    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """A gray mask picture (H, W) of the CAT method; it may be read-only. Arguments and errors as for labels."""


class FileStore(Store):
    """A store of encoded files."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole file.

        Raises:
            DataError: it cannot be read; it is named.
        """

    def extract(self, key: str, target: Path) -> None:
        """Write the file, byte for byte."""
        target.write_bytes(self.read(key))

    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """The file decoded; see :meth:`Store.image`."""
        return decode_image(self.read(key), self.path(key), channels)

    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """The file decoded, whichever of the known formats it has."""
        return decode_masks(self.read(key), self.path(key), size)

    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """The file decoded."""
        return decode_gray(self.read(key), self.path(key), size)


class FolderStore(FileStore):
    """The files of a folder and its sub-folders; hidden ones and other types are left out.

    Keys are paths below the folder, with ``/`` and with their extension. A folder of masks that Segment Anything has
    written for one image is one file of the folder above it: a label map.

    Args:
        root: the folder; ``~`` is the home.
        suffixes: extensions to take, in lower case; files may have them in any case.

    Raises:
        DataError: no such folder, or no such file in it.
    """

    closed = False

    def __init__(self, root: str | Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise DataError(f'{self.root}: no such folder')
        masks = tuple(suffixes) == MASK_SUFFIXES
        self.keys = mask_files_below(self.root) if masks else files_below(self.root, suffixes)
        if not self.keys:
            hint = ''
            if self.root.suffix in ('.lmdb', '.raw'):
                hint = f'; by its name it is read with io_backend: {{type: {self.root.suffix[1:]}}}'
            raise DataError(f'{self.root}: no files of type {", ".join(suffixes)} in this folder{hint}')

    def stem(self, key: str) -> str:
        """The key without its extension."""
        return stem_of(key)

    def path(self, key: str) -> str:
        """Where the file lies."""
        return str(self.root / key)

    def read(self, key: str) -> bytes:
        """The whole file."""
        if PurePosixPath(key).name == METADATA:
            return encode_label_map(read_masks(self.root / key), compress_level=1)
        try:
            return (self.root / key).read_bytes()
        except OSError as error:
            raise DataError(f'{self.path(key)}: cannot be read ({error.strerror or error})') from error
