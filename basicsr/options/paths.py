"""Expand ``~`` and variables in the paths of option files; ``preflight`` checks whether the paths exist."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from basicsr.utils.installation import GIVEN_NETWORKS, NETWORK_FILES
from basicsr.utils.problems import Problem, value_at
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import PathMark, TypeBlock, mark_of, parameters_of

Location = tuple[str | int, ...]

_VARIABLE = re.compile(r'\$(?:(\w+)|\{([^}]*)\})')


def expand(path: str | None) -> str | None:
    """Expand ``~``, ``~user``, ``$VAR`` and ``${VAR}``.

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


def find_bundled(path: str | None) -> str | None:
    """Return the bundled network if the path refers to it and the current directory has no such file."""
    bundled = NETWORK_FILES / Path(path or '').name
    means_it = path is not None and Path(path).parent == GIVEN_NETWORKS and not Path(path).exists()
    return str(bundled) if means_it and bundled.is_file() else path


OptionalFilePath = Annotated[str | None, AfterValidator(expand), PathMark('file')]
OptionalNetworkPath = Annotated[str | None, AfterValidator(expand), AfterValidator(find_bundled), PathMark('file')]


def expand_block(kind: str, block: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the ``type:`` block with the paths among its arguments expanded, and the problems with them."""
    expanded, problems = copy.deepcopy(dict(block)), []
    for location, _, path in paths_of_block(kind, block):
        try:
            value_at(expanded, location[:-1])[location[-1]] = expand(path)
        except PydanticCustomError as error:
            problems.append(Problem(location, error.message()))
    return expanded, problems


def paths_of_block(kind: str, block: Mapping[str, Any]) -> Iterator[tuple[Location, str, str]]:
    """Yield location, kind and value of every path among the arguments of a ``type:`` block and of nested blocks."""
    for name, parameter in parameters_of(REGISTRIES[kind].get(block['type'])).items():
        value, inner = block.get(name), mark_of(parameter.annotation, TypeBlock)
        several = isinstance(value, list)
        mark = mark_of(parameter.annotation, PathMark)
        for place, item in [((name, i), v) for i, v in enumerate(value)] if several else [((name,), value)]:  # type: ignore[arg-type]
            if inner is not None and isinstance(item, Mapping):
                yield from ((place + p, what, path) for p, what, path in paths_of_block(inner.kind, item))
            elif mark is not None and isinstance(item, str):
                will_be_made = mark.unless is not None and block.get(mark.unless[0]) == mark.unless[1]
                yield place, 'any' if will_be_made else mark.kind, item
