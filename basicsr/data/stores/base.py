"""Interface of the stores of samples, and folders of files."""

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
from basicsr.utils.files import files_below, read_file

Backend = Literal['disk', 'lmdb', 'raw']
IoBackend = dict[Literal['type'], Backend]
DISK: IoBackend = {'type': 'disk'}


class Store(ABC):
    """Images or mask files by key. A store contains no open file, so it can be pickled and sent to worker processes."""

    root: Path
    """The folder."""
    keys: list[str]
    """The keys of all files, sorted."""
    closed: ClassVar[bool]
    """Whether every file must have its partners (a database), or further files are ignored (a folder)."""

    def stem(self, key: str) -> str:
        """Return the key without its extension, which partners share; sub-folders and other dots are kept."""
        return key

    def file_name(self, key: str) -> str:
        """Return the name of the file outside of the store."""
        return key

    @abstractmethod
    def extract(self, key: str, target: Path) -> None:
        """Write the value of a key to a file."""

    def path(self, key: str) -> str:
        """Return the path of the file, for messages and results."""
        return str(self.root / self.file_name(key))

    @abstractmethod
    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """Read an image (H, W, C) RGB, uint8 or uint16; it may be read-only.

        Args:
            key: one of ``keys``.
            channels: 3 turns gray into RGB, 1 turns colours into gray, None keeps the channels.

        Raises:
            DataError: it cannot be read; it is named.
            ImageFileError: it is broken, or no image.
        """

    @abstractmethod
    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """Read a label map (L, H, W) of integers; it may be read-only.

        Args:
            key: one of ``keys``.
            size: (H, W) that it must have; None takes any.

        Raises:
            DataError: it cannot be read; it is named.
            MaskError: it is broken, not a label map, or has a different size.
        """

    @abstractmethod
    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Read a gray mask image (H, W) of the CAT method; it may be read-only. Arguments and errors as for labels."""


class FileStore(Store):
    """A store of encoded files."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Read the whole file.

        Raises:
            DataError: it cannot be read; it is named.
        """

    def extract(self, key: str, target: Path) -> None:
        """Write the file, byte for byte."""
        target.write_bytes(self.read(key))

    def image(self, key: str, channels: Literal[1, 3] | None = None) -> Array:
        """Read an image (H, W, C) RGB, uint8 or uint16; it may be read-only."""
        return decode_image(self.read(key), self.path(key), channels)

    def labels(self, key: str, size: tuple[int, int] | None = None) -> Array:
        """Read a label map (L, H, W) of integers; it may be read-only."""
        return decode_masks(self.read(key), self.path(key), size)

    def gray(self, key: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Read a gray mask image (H, W) of the CAT method; it may be read-only. Arguments and errors as for labels."""
        return decode_gray(self.read(key), self.path(key), size)


class FolderStore(FileStore):
    """The files of a folder and its sub-folders; hidden files and other types are skipped.

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
        """Return the key without its extension, which partners share; sub-folders and other dots are kept."""
        return stem_of(key)

    def read(self, key: str) -> bytes:
        """Read the whole file."""
        if PurePosixPath(key).name == METADATA:
            return encode_label_map(read_masks(self.root / key), compress_level=1)
        return read_file(self.root / key)
