"""Find option files by name: ``GoPro/SAMDeblur`` is one of the shipped files."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

from basicsr.utils.errors import OptionError
from basicsr.utils.installation import OPTION_FILES

Phase = Literal['train', 'test']
SUFFIX = '.yml'


def find_option_file(name_or_path: str | Path, phase: Phase | None = None) -> Path:
    """Return the option file with this path or name.

    Args:
        name_or_path: path with or without ``.yml``, or the name of a shipped file (:func:`find_shipped`).
        phase: chooses between two shipped files of one name, for training and for evaluation.

    Raises:
        OptionError: there is no such file (the message suggests similar names), or two files have this name.
    """
    path = Path(name_or_path)
    for candidate in (path, Path(f'{path}{SUFFIX}')):
        if candidate.is_file():
            return candidate
    found = find_shipped(path.as_posix(), phase)
    if found is not None:
        return found
    if path.exists():
        return path  # a folder, or something else that cannot be read
    lowered = {_without_phase(key).lower(): _without_phase(key) for key in shipped_files() if '/_base_/' not in key}
    close = difflib.get_close_matches(_without_phase(_plain(path.as_posix())).lower(), lowered, n=3)
    names = f'; did you mean {" or ".join(lowered[key] for key in close)}?' if close else ''
    raise OptionError(f'{path}: no such option file{names}')


def find_shipped(name: str, phase: Phase | None = None) -> Path | None:
    """Return the shipped option file with this name; None if there is none.

    Args:
        name: its path; ``options/``, then ``train/`` or ``test/``, and ``.yml`` may be omitted.
        phase: see :func:`find_option_file`.

    Raises:
        OptionError: a file for training and one for evaluation have this name, and ``phase`` is None.
    """
    known, name = shipped_files(), _plain(name)
    found = [key for key in (name, f'train/{name}', f'test/{name}') if key in known]
    wanted = [key for key in found if phase is not None and key.startswith(f'{phase}/')] or found
    if len(wanted) > 1:
        raise OptionError(f'{name}: two shipped option files have this name; write {" or ".join(wanted)}')
    return known[wanted[0]] if wanted else None


def shipped_files() -> dict[str, Path]:
    """Return the shipped option files by their path below ``options/`` without ``.yml``."""
    return {
        _plain(path.relative_to(OPTION_FILES).as_posix()): path for path in sorted(OPTION_FILES.rglob(f'*{SUFFIX}'))
    }


def _plain(name: str) -> str:
    return name.removeprefix('options/').removesuffix(SUFFIX)


def _without_phase(name: str) -> str:
    return name.removeprefix('train/').removeprefix('test/')
