"""Checks the arguments of a ``type:`` block against the signature of the class it names.

The signature is the only description of a block: its names say which keys exist, its defaults which
are required, its annotations which values they take. pydantic does the type checking.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Le

from basicsr.utils.errors import nearest

_NOTHING = 'Input should be None'

Share = Annotated[float, Ge(0), Le(1)]
"""A part of a whole, 0 to 1."""
Positive = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Ge(0)]


@dataclass(frozen=True)
class TypeBlock:
    """Marks a parameter that is itself a ``type:`` block (or a list of them).

    Used as ``backbone: Annotated[dict, TypeBlock('network')]``.
    """

    kind: str


@dataclass(frozen=True)
class PathMark:
    """Marks a value that names a file or folder, which must exist when something is run.

    Args:
        kind: which of the two.
        unless: (argument, value) that says it will be made where it is missing.
    """

    kind: Literal['file', 'folder']
    unless: tuple[str, Any] | None = None


Folder = Annotated[str, PathMark('folder')]
File = Annotated[str, PathMark('file')]


_Mark = TypeVar('_Mark', 'TypeBlock', 'PathMark')


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a value: where (keys below the block) and what."""

    location: tuple[str | int, ...]
    message: str


def parameters_of(factory: Callable[..., Any], supplied: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters that an option file may set, with resolved annotations.

    Where a constructor takes ``**arguments``, the parameters of its base class follow.

    Args:
        factory: class or function.
        supplied: names of parameters to leave out because code passes them.
    """
    keep: dict[str, inspect.Parameter] = {}
    constructors = [vars(base)['__init__'] for base in getattr(factory, '__mro__', ()) if '__init__' in vars(base)]
    for place, target in enumerate(constructors or [factory]):
        bound = types.MethodType(target, factory) if place else factory
        parameters = inspect.signature(bound).parameters.values()
        try:
            hints = typing.get_type_hints(target, include_extras=True)
        except (NameError, TypeError):  # annotations of foreign classes may name things that are not importable
            hints = {}
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                annotation = hints.get(parameter.name, parameter.empty)
                keep.setdefault(parameter.name, parameter.replace(annotation=annotation))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return {name: parameter for name, parameter in keep.items() if name not in supplied}


def nested_block(parameter: inspect.Parameter) -> TypeBlock | None:
    """The marker of a parameter that holds ``type:`` blocks of its own."""
    return _mark(parameter.annotation, TypeBlock)


def path_mark(annotation: Any) -> PathMark | None:
    """The mark of a parameter that names a file or folder, or several, or may be None."""
    return _mark(annotation, PathMark)


def _mark(annotation: Any, kind: type[_Mark]) -> _Mark | None:
    """The mark of an annotation or of a part of it: Python 3.10 wraps those with the default None in Optional."""
    for mark in getattr(annotation, '__metadata__', ()):
        if isinstance(mark, kind):
            return mark
    found = [mark for part in typing.get_args(annotation) if (mark := _mark(part, kind)) is not None]
    return found[0] if found else None


def fit_arguments(
    factory: Callable[..., Any], arguments: Mapping[str, Any], supplied: Iterable[str] = (), beside: Iterable[str] = ()
) -> tuple[dict[str, Any], list[Problem]]:
    """Check ``arguments`` against ``factory``'s signature without calling it.

    Args:
        factory: class or function that the arguments are for.
        arguments: plain values as read from YAML.
        supplied: parameters that code supplies (an optimizer's ``params``), not the option file.
        beside: keys that may stand in the block but are not the factory's, for hints.

    Returns:
        the arguments (whole-number floats where an int is expected became ints), and all problems.
    """
    known = parameters_of(factory, supplied)
    fitted, problems = dict(arguments), []
    for name in arguments:
        if name not in known:
            hint = nearest(str(name), [*known, *beside]) or f'; it takes {", ".join(known) or "no arguments"}'
            problems.append(Problem((name,), f"unknown key '{name}' of {factory.__name__}{hint}"))
    for name, parameter in known.items():
        if name not in arguments:
            if parameter.default is parameter.empty:
                problems.append(Problem((), f"{factory.__name__} needs the key '{name}'"))
        elif parameter.annotation is not parameter.empty:
            fitted[name], found = fit_value(parameter.annotation, arguments[name])
            default = parameter.default
            hint = default_hint(None if default is parameter.empty else default) if arguments[name] is None else ''
            problems += [Problem((name, *p.location), p.message + hint) for p in found]
    return fitted, problems


def fit_value(annotation: Any, value: Any) -> tuple[Any, list[Problem]]:
    """Check one plain value against a type; 1e4 passes as an int because YAML users write it so.

    Values are checked as JSON would be: a list fits a tuple, an int fits a float, a string never fits a number.
    """
    import pydantic

    try:
        adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(
            annotation, config=pydantic.ConfigDict(arbitrary_types_allowed=True, strict=True)
        )
    except pydantic.errors.PydanticSchemaGenerationError:  # a type of another library: its class checks it
        return value, []
    mistakes = None
    for candidate in (value, _whole_numbers_as_ints(value)):
        try:
            adapter.validate_json(json.dumps(candidate))
        except pydantic.ValidationError as error:
            mistakes = mistakes or error
        else:
            return candidate, []
    return value, readable(mistakes, value)


def _whole_numbers_as_ints(value: Any) -> Any:
    """``T_max: 2e5`` is a float to YAML."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers_as_ints(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers_as_ints(item) for key, item in value.items()}
    return value


def readable(error: Any, value: Any) -> list[Problem]:
    """A ``pydantic.ValidationError`` as one problem for each place in the value; branches of a union joined by 'or'."""
    messages: dict[tuple[str | int, ...], list[str]] = {}
    for item in error.errors(include_url=False, include_context=False):
        location = existing_part(item['loc'], value)
        if item['type'] not in ('needs_python_object', 'is_instance_of'):
            messages.setdefault(location, []).append(message_of(item))
    for texts in messages.values():
        if len(texts) > 1 and _NOTHING in texts:  # `or None` of optional arguments
            texts.remove(_NOTHING)
    return [Problem(place, mismatch(texts, value_at(value, place))) for place, texts in messages.items()]


def message_of(item: Mapping[str, Any]) -> str:
    """What pydantic says in one of its errors, but for too few values of a tuple, where it says 'Field required'."""
    too_few = item['type'] == 'missing' and item['loc'] and isinstance(item['loc'][-1], int)
    return 'Input should be a list of more values' if too_few else str(item['msg'])


def mismatch(messages: Iterable[str], value: Any) -> str:
    """One sentence out of pydantic's messages about one value: what was expected, and what there is."""
    prefix = 'Input should be '
    messages = list(dict.fromkeys(messages))
    expected = ' or '.join(text.removeprefix(prefix) for text in messages if text.startswith(prefix))
    others = [text[:1].lower() + text[1:] for text in messages if not text.startswith(prefix)]
    got = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + '...'
    kind = '' if value is None else f' ({type(value).__name__})'
    for theirs, ours in (
        ('a valid dictionary', 'a mapping'),
        ('an object', 'a mapping'),
        ('a valid array', 'a list'),
        ('None', 'nothing (null)'),
        ('null', 'nothing (null)'),
    ):
        expected = expected.replace(theirs, ours)
    parts = ([f'expected {expected}'] if expected else []) + others
    return f'{"; ".join(parts)}, got {"nothing (null)" if value is None else got}{kind}'


def default_hint(default: Any) -> str:
    """What to do about ``key: null`` where null is no value: the hint ``; leave the key out for its default, 256``."""
    plain = isinstance(default, (bool, int, float, str, tuple, list)) and default not in ((), [])
    return f'; leave the key out for its default, {json.dumps(default)}' if plain else ''


def value_at(value: Any, location: Iterable[str | int]) -> Any:
    """What lies below ``value`` under these keys and indices."""
    for key in location:
        value = value[key]
    return value


def existing_part(location: tuple[str | int, ...], value: Any) -> tuple[str | int, ...]:
    """The leading keys of a pydantic location that exist in the value (union branches add names of their own)."""
    keys: list[str | int] = []
    for key in location:
        known: bool = isinstance(value, dict) and key in value
        if known or (isinstance(value, list) and key in range(len(value))):
            keys.append(key)
            value = value[key]
    return tuple(keys)
