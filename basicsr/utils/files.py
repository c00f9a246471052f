"""Find and read files, write files and folders atomically, and hash files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from basicsr.utils.errors import BasicsrError, DataError
from basicsr.utils.temporary import hidden_file, hidden_folder, hidden_path


def read_file(path: str | Path, error: type[BasicsrError] = DataError) -> bytes:
    """Return the content of a file.

    Args:
        path: the file.
        error: raised if it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as cause:
        raise error(f'{path}: cannot be read ({cause.strerror or cause})') from cause


def read_json(path: Path, error: type[BasicsrError], advice: str) -> Any:
    """Return the content of a JSON file.

    Args:
        path: the file.
        error: raised if it cannot be read, or is not JSON.
        advice: what to do if it is not JSON, for the message.
    """
    try:
        return json.loads(read_file(path, error))
    except (ValueError, RecursionError) as cause:
        raise error(f'{path}: damaged ({cause}); {advice}') from cause


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of ``path`` once it is complete and on the disk.

    If the block fails, or the process is killed, an older file of that name stays as it is. The file mode follows
    the umask, as for any new file.

    Args:
        path: its folder must exist.

    Raises:
        OSError: the disk is full or the folder cannot be written; its ``filename`` is ``path``.
    """
    with _replacing(path, '') as temporary, temporary.open('wb') as file:
        yield file


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Write a file through :func:`whole_file`."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, for code that opens files by name; it replaces ``path`` once it is complete.

    Args:
        path: its folder must exist; the new path is an empty file in the same folder, hidden, with the same extension.

    Raises:
        OSError: the disk is full or the folder cannot be written; its ``filename`` is ``path``.
    """
    with _replacing(path, path.suffix) as temporary:
        yield temporary


@contextmanager
def _replacing(path: Path, suffix: str) -> Iterator[Path]:
    temporary = hidden_path(path.parent, suffix)
    try:
        with hidden_file(temporary):
            yield temporary
            with temporary.open('rb+') as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except OSError as error:
        raise _named(error, temporary, path) from error


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Create a folder that gets its name once it is complete.

    Args:
        path: must not exist; the folders above it are made.

    Raises:
        OSError: the disk is full or the folder cannot be written; its ``filename`` is ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_path(path.parent)
    try:
        with hidden_folder(temporary):
            yield temporary
            temporary.rename(path)
    except OSError as error:
        raise _named(error, temporary, path) from error


@contextmanager
def whole_group(folder: Path) -> Iterator[Path]:
    """Create a temporary folder whose files are moved to ``folder`` once all are written.

    Files of the same names are replaced then, and stay as they are if the block fails.

    Args:
        folder: must exist.

    Raises:
        OSError: the disk is full or the folder cannot be written; its ``filename`` is that in ``folder``.
    """
    temporary = hidden_path(folder)
    try:
        with hidden_folder(temporary):
            yield from _moved(temporary, folder)
    except BasicsrError as error:
        if str(temporary) not in str(error):
            raise
        raise type(error)(str(error).replace(str(temporary), str(folder))) from error
    except OSError as error:
        if not str(error.filename).startswith(str(temporary)):
            raise
        place = str(error.filename).replace(str(temporary), str(folder))
        raise OSError(error.errno, error.strerror, place) from error


def _moved(temporary: Path, folder: Path) -> Iterator[Path]:
    """Yield a folder, then move its files to another one, all or none."""
    new: list[Path] = []
    try:
        yield temporary
        files = sorted(temporary.iterdir())
        new = [target for target in (folder / file.name for file in files) if not target.exists()]
        for file in files:
            file.replace(folder / file.name)
    except BaseException:
        for target in new:
            target.unlink(missing_ok=True)
        raise


def refuse_existing(path: Path) -> None:
    """Raise an error if a path exists.

    Raises:
        DataError: the path exists.
    """
    if path.exists():
        raise DataError(f'{path}: already exists; remove it or choose another name')


def new_path(path: str | Path, suffix: str = '') -> Path:
    """Return a path, with ``~`` expanded, where a file or folder can be created.

    Raises:
        DataError: the path exists, or does not end with ``suffix``.
    """
    path = Path(path).expanduser()
    if suffix and path.suffix != suffix:
        raise DataError(f"{path}: the name must end with '{suffix}'")
    refuse_existing(path)
    return path


def inside(folder: Path, name: str, source: Path) -> Path:
    """Return the path of a file below a folder, for names from an untrusted file.

    Args:
        folder: folder that must contain it.
        name: with ``/`` between sub-folders.
        source: file with the name, for messages.

    Raises:
        DataError: the path is outside of the folder.
    """
    path = folder / name
    if Path(name).is_absolute() or '..' in Path(name).parts or not path.name:
        raise DataError(f'{source}: names a file {name!r}, which is outside of its folder')
    return path


def _named(error: OSError, temporary: Path, path: Path) -> OSError:
    """Return the error with the final file name instead of the temporary one."""
    if isinstance(error, BasicsrError) or not (
        error.filename is None or str(error.filename).startswith(str(temporary))
    ):
        return error
    return OSError(error.errno, error.strerror, str(path))


def files_below(root: Path, suffixes: Collection[str]) -> list[str]:
    """Find all files of some types in a folder and its sub-folders; symbolic links are followed.

    Hidden files and folders are skipped.

    Args:
        root: the folder.
        suffixes: extensions in lower case; files may have them in any case.

    Returns:
        paths below the folder with ``/``, sorted.
    """
    found = []
    above: dict[str, tuple[Path, ...]] = {}  # folders that lead to each, itself included, links resolved
    for folder, folders, files in os.walk(root, followlinks=True):
        place = Path(folder).resolve()
        way = above.get(str(Path(folder).parent), ())
        if place in way:  # a link to a folder above
            folders.clear()
            continue
        above[folder] = (*way, place)
        folders[:] = [name for name in folders if not name.startswith('.')]
        for name in files:
            if not name.startswith('.') and Path(name).suffix.lower() in suffixes:
                found.append((Path(folder) / name).relative_to(root).as_posix())
    return sorted(found)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
