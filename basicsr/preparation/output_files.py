"""Files written whole or linked, with errors that say what to do."""

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

from basicsr.images.files import imwrite
from basicsr.utils.errors import BasicsrError, DataError, OutputError
from basicsr.utils.files import whole_file

Link = Literal['copy', 'hard', 'symbolic']


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
