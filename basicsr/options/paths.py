"""Paths in option files: ``~`` and variables expand when read; whether they exist is asked when something is run."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel
from pydantic_core import PydanticCustomError

from basicsr.utils.errors import OptionError
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import PathMark, Problem, nested_block, parameters_of, path_mark, value_at

if TYPE_CHECKING:
    from basicsr.options.schema import Options

Location = tuple[str | int, ...]

_VARIABLE = re.compile(r'\$(?:(\w+)|\{([^}]*)\})')


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


OptionalFilePath = Annotated[str | None, AfterValidator(expand), PathMark('file')]


def expand_block(kind: str, block: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The ``type:`` block with the paths among its arguments expanded, and what is wrong with them."""
    expanded, problems = copy.deepcopy(dict(block)), []
    for location, _, path in _paths_of_block(kind, block):
        try:
            value_at(expanded, location[:-1])[location[-1]] = expand(path)
        except PydanticCustomError as error:
            problems.append(Problem(location, error.message()))
    return expanded, problems


def check_paths(options: Options) -> None:
    """Make sure that every file and folder the options name is there.

    Raises:
        OptionError: all that are missing, each with the place that names it.
    """
    problems = []
    for location, kind, path in _paths_of(options, ()):
        found = {'folder': Path(path).is_dir, 'file': Path(path).is_file}.get(kind)
        if found is not None and not found():
            position = options.position(location)
            where = f'{position}: ' if position else ''
            seen_from = '' if Path(path).is_absolute() else f' (looked for in {Path.cwd()})'
            problems.append(
                (
                    position is None or not position.line,
                    position,
                    f'{where}{".".join(map(str, location))}: no such {kind}: {path}{seen_from}',
                )
            )
    if problems:
        raise OptionError(text for *_, text in sorted(problems, key=lambda problem: problem[:2]))


def _paths_of(section: BaseModel, above: Location) -> Iterator[tuple[Location, str, str]]:
    """Location, kind ('file', 'folder', or 'any' where it need not exist) and value of every path below a section."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        marks = [mark for mark in field.metadata if isinstance(mark, PathMark)]
        if marks and value is not None:
            yield (*above, name), marks[0].kind, value
        for key, inner in value.items() if isinstance(value, dict) else [(None, value)]:
            if isinstance(inner, BaseModel):
                yield from _paths_of(inner, (*above, name) if key is None else (*above, name, key))
    kind = getattr(section, 'kind', None)
    if kind is not None:
        block = {'type': getattr(section, 'type', None), **(section.model_extra or {})}
        yield from ((above + place, what, path) for place, what, path in _paths_of_block(kind, block))


def _paths_of_block(kind: str, block: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Location, kind and value of every path among the arguments of a ``type:`` block and of the blocks inside it."""
    for name, parameter in parameters_of(REGISTRIES[kind].get(block['type'])).items():
        value, inner = block.get(name), nested_block(parameter)
        several = isinstance(value, list)
        for place, item in [((name, i), v) for i, v in enumerate(value)] if several else [((name,), value)]:  # type: ignore[arg-type]
            mark = path_mark(parameter.annotation)
            if inner is not None and isinstance(item, Mapping):
                yield from ((place + p, what, path) for p, what, path in _paths_of_block(inner.kind, item))
            elif mark is not None and isinstance(item, str):
                will_be_made = mark.unless is not None and block.get(mark.unless[0]) == mark.unless[1]
                yield place, 'any' if will_be_made else mark.kind, item
