"""Picture files written whole, linked, and recognised as whole without decoding them."""

from __future__ import annotations

import errno
import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from PIL import Image

from basicsr.utils.errors import BasicsrError, DataError
from basicsr.utils.files import whole_file
from basicsr.utils.image import imwrite

Link = Literal['copy', 'hard', 'symbolic']

_ENDS = {b'\x89PNG': (b'IEND', 16), b'\xff\xd8\xff': (b'\xff\xd9', 4096)}  # start: end, looked for in the last bytes


class OutputError(DataError):
    """A file cannot be written, and no other can: the disk is full, or the folder cannot be written."""


def picture_size(path: Path) -> tuple[int, int] | None:
    """(H, W) of a picture file as its header says; None if there is none, or the file is cut off."""
    try:
        with path.open('rb') as file:
            start = file.read(4)
            file.seek(0, os.SEEK_END)
            length = file.tell()
            for mark, (end, reach) in _ENDS.items():
                if start.startswith(mark):
                    file.seek(max(0, length - reach))
                    if end not in file.read():
                        return None
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def is_whole_stack(path: Path) -> bool:
    """Whether a file is an ``.npz`` with an array ``masks``; its directory is at the end, so it is not cut off."""
    try:
        with zipfile.ZipFile(path) as file:
            return 'masks.npy' in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while ``path`` is written into an error that says what to do.

    Raises:
        DataError: this name is too long.
        OutputError: nothing can be written there.
    """
    try:
        yield
    except BasicsrError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f'{path}: the name is too long for this disk; shorten the name of its source') from error
        if error.errno == errno.EXDEV:
            raise OutputError(f'{path}: the source lies on another disk; use --link copy or symbolic') from error
        raise OutputError(
            f'{path}: cannot be written ({reason}). Make room or the folder writable, then run the same command '
            'again: finished files are kept'
        ) from error


def save_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and its folder if it is missing.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(data)


def save_png(path: Path, pixels: NDArray[Any]) -> None:
    """Write (H, W, 3) RGB, or (H, W) or (H, W, 1) gray, uint8 or uint16, as PNG, whole or not at all.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        imwrite(path, pixels)


def place(source: Path, target: Path, data: bytes, link: Link) -> None:
    """Make ``target`` a copy of a file, or a link to it; it appears whole or not at all.

    Args:
        source: the file.
        target: the new name.
        data: the content of the file.
        link: 'copy', 'hard' (on one disk only) or 'symbolic'.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    if link == 'copy':
        save_bytes(target, data)
        return
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f'.{secrets.token_hex(8)}.part')
        try:
            if link == 'hard':
                os.link(source.resolve(), temporary)
            else:
                temporary.symlink_to(source.resolve())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
