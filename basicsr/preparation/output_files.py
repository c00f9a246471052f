"""Write or link files, complete or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.masks.files import encode_label_map
from basicsr.utils.errors import BasicsrError, DataError, OutputError
from basicsr.utils.files import whole_file

LinkMode = Literal['copy', 'hard', 'symbolic']


def is_whole_stack(path: Path) -> bool:
    """Return whether a file is a complete ``.npz`` with an array ``masks`` (the directory is at its end)."""
    try:
        with zipfile.ZipFile(path) as file:
            return 'masks.npy' in file.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Create the folder of ``path``, and turn an OSError while writing it into an error with advice.

    Raises:
        DataError: the name is too long.
        OutputError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BasicsrError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f'{path}: the name is too long for this disk; rename the source') from error
        if error.errno == errno.EXDEV:
            raise OutputError(f'{path}: the source is on a different disk; use --link copy or symbolic') from error
        raise OutputError(
            f'{path}: cannot be written ({reason}). Free disk space or change the permissions, then run the same '
            'command again; finished files are kept'
        ) from error


def save_bytes(path: Path, data: bytes) -> None:
    """Write a file, complete or not at all, and create its folder.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    with writing(path), whole_file(path) as file:
        file.write(data)


def save_png(path: Path, pixels: Array) -> None:
    """Write (H, W, 3) RGB, or (H, W) or (H, W, 1) gray, uint8 or uint16, as PNG, complete or not at all.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    with writing(path):
        imwrite(path, pixels)


def save_pair(folder: Path, name: str, lq: Array, gt: Array, labels: Array | None) -> None:
    """Write ``{blur,sharp,masks}/<name>.png`` to existing folders, without waiting for the disk.

    Args:
        folder: folder of these folders.
        name: of the files, without extension.
        lq: blurred image (H, W, 3) RGB uint8.
        gt: sharp image of the same shape.
        labels: label map (L, H, W); None writes no masks.
    """
    bgr = {part: np.ascontiguousarray(image[..., ::-1]) for part, image in (('blur', lq), ('sharp', gt))}
    files = {part: cv2.imencode('.png', image)[1].tobytes() for part, image in bgr.items()}
    files |= {} if labels is None else {'masks': encode_label_map(labels)}
    for part, data in files.items():
        temporary = folder / part / f'.{name}.png.part'
        temporary.write_bytes(data)
        temporary.replace(folder / part / f'{name}.png')


def place(source: Path, target: Path, data: bytes, link: LinkMode) -> None:
    """Copy or link a file, complete or not at all.

    Args:
        source: the file.
        target: the new name.
        data: the content of the file.
        link: ``copy``, ``hard`` (same disk only) or ``symbolic``.

    Raises:
        DataError, OutputError: see :func:`writing`.
    """
    if link == 'copy':
        save_bytes(target, data)
        return
    with writing(target):
        temporary = target.with_name(f'.{secrets.token_hex(8)}.part')
        try:
            if link == 'hard':
                os.link(source.resolve(), temporary)
            else:
                temporary.symlink_to(source.resolve())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
