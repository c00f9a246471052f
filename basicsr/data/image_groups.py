"""Read groups of images that a report scores separately, such as indoor and outdoor."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from basicsr.data.pairing import naturally_sorted, refuse_all
from basicsr.images.arrays import read_npy
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.utils.errors import DataError

logger = logging.getLogger(__name__)

Groups = dict[str, str]
"""File by group."""


def read_groups(files: Mapping[str, str] | None, names: Sequence[str]) -> tuple[str, ...]:
    """Return the group of each image.

    Args:
        files: by group, a ``.npy`` file of positions, counted from 1 in the natural order of the names (the form in
            which the labels of DPDD are passed around), or a text file with the name of an image in every line.
        names: of the images, without extension.

    Returns:
        one group per name, '' if no file lists it; an empty tuple if all files are missing.

    Raises:
        DataError: some of the files are missing or cannot be read, name images that do not exist, or share images.
    """
    paths = {group: Path(file).expanduser() for group, file in (files or {}).items()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if len(missing) == len(paths):
        if missing:
            logger.warning('not scoring images by group (%s): missing %s', ', '.join(paths), ', '.join(missing))
        return ()
    problems = {'no such file': missing}
    known = naturally_sorted(names)
    found: dict[str, str] = {}
    for group, path in paths.items():
        members = _members(path, known) if path.is_file() else []
        problems[f'{path} lists unknown images'] = [name for name in members if name not in set(names)]
        problems[f'images of {path} that are also in another group'] = [name for name in members if name in found]
        found |= dict.fromkeys(members, group)
    refuse_all(problems, f'the groups ({", ".join(paths)}) do not match the data set')
    return tuple(found.get(name, '') for name in names)


def _members(path: Path, known: Sequence[str]) -> list[str]:
    """Return the names in a file; positions beyond the last image stay numbers."""
    try:
        if path.suffix != '.npy':
            lines = path.read_text(encoding='utf-8').split('\n')
            listed = [PurePosixPath(line.strip()) for line in lines if line.strip()]
            return [str(name.with_suffix('') if name.suffix.lower() in IMAGE_SUFFIXES else name) for name in listed]
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot read the group ({error})') from error
    positions = read_npy(path, DataError, 'a group')
    if positions.ndim != 1 or positions.dtype.kind not in 'iu':
        raise DataError(f'{path}: expected a list of integers, got {positions.dtype} {positions.shape}')
    return [known[n - 1] if 1 <= n <= len(known) else str(n) for n in positions.tolist()]
