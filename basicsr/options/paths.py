"""Paths in option files: ``~`` and variables expand when read; whether they exist is asked when something is run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError

from basicsr.utils.errors import OptionError

if TYPE_CHECKING:
    from basicsr.options.schema import Options

_VARIABLE = re.compile(r'\$(?:(\w+)|\{([^}]*)\})')


@dataclass(frozen=True)
class PathMark:
    """Marks a field that names a file or folder that must exist when something is run."""

    kind: Literal['file', 'folder']


def expand(path: str | None) -> str | None:
    """``~``, ``~user``, ``$VAR`` and ``${VAR}`` replaced by what they stand for.

    Raises:
        PydanticCustomError: a variable is not defined, there is no such home folder, or the path is empty.
    """
    if path is None:
        return None
    if not path.strip():
        raise PydanticCustomError('path', 'the path is empty')
    names = [match.group(1) or match.group(2) or '' for match in _VARIABLE.finditer(path)]
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise PydanticCustomError('path', 'the environment variable {name} is not defined', {'name': missing[0]})
    path = _VARIABLE.sub(lambda match: os.environ[match.group(1) or match.group(2)], path)
    home = Path(path).parts[0] if path.startswith('~') else ''
    if home and os.path.expanduser(home) == home:  # noqa: PTH111 - Path.expanduser raises where this returns
        raise PydanticCustomError('path', 'no home folder for {home}', {'home': home})
    return str(Path(path).expanduser()) if home else path


FolderPath = Annotated[str, AfterValidator(expand), PathMark('folder')]
OptionalFolderPath = Annotated[str | None, AfterValidator(expand), PathMark('folder')]
OptionalFilePath = Annotated[str | None, AfterValidator(expand), PathMark('file')]


def check_paths(options: Options) -> None:
    """Make sure that every file and folder the options name is there.

    Raises:
        OptionError: all that are missing, each with the place that names it.
    """
    problems = []
    for location, kind, path in _paths_of(options, ()):
        found = Path(path).is_dir() if kind == 'folder' else Path(path).is_file()
        if not found:
            position = options.position(location)
            where = f'{position}: ' if position else ''
            seen_from = '' if Path(path).is_absolute() else f' (looked for in {Path.cwd()})'
            problems.append(
                (
                    position is None or not position.line,
                    position,
                    f'{where}{".".join(location)}: no such {kind}: {path}{seen_from}',
                )
            )
    if problems:
        raise OptionError(text for *_, text in sorted(problems, key=lambda problem: problem[:2]))


def _paths_of(section: BaseModel, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Location, kind and value of every path below a section."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        marks = [mark for mark in field.metadata if isinstance(mark, PathMark)]
        if marks and value is not None:
            yield (*above, name), marks[0].kind, value
        for key, inner in value.items() if isinstance(value, dict) else [(None, value)]:
            if isinstance(inner, BaseModel):
                yield from _paths_of(inner, (*above, name) if key is None else (*above, name, key))
