"""Writing files whole or not at all, and naming their content."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` once it is complete and on the disk.

    If the block fails, or the process is killed, an older file of that name stays as it is. The file mode follows
    the umask, as for any new file.

    Args:
        path: its folder must exist.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f'.{secrets.token_hex(8)}.part')  # short, whatever the length of the name
    try:
        with temporary.open('xb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
