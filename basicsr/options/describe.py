"""Types, defaults and docstrings in words and as JSON schema, for the generated documentation of the options."""

from __future__ import annotations

import collections.abc
import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from basicsr.options.fields import Block, KeyPattern
from basicsr.utils.signature import PathMark, TypeBlock

_WORDS: dict[Any, tuple[str, dict[str, Any]]] = {
    bool: ('true or false', {'type': 'boolean'}),
    int: ('integer', {'type': 'integer'}),
    float: ('number', {'type': 'number'}),
    str: ('text', {'type': 'string'}),
    type(None): ('null', {'type': 'null'}),
}
_LISTS = (list, tuple, collections.abc.Sequence)
_MAPPINGS = (dict, collections.abc.Mapping)


def describe_type(annotation: Any, marks: tuple[Any, ...] = ()) -> tuple[str, dict[str, Any]]:
    """A type in words, and as JSON schema (draft 2020-12).

    Python versions print one annotation in different ways, so nothing here depends on how they do.

    Args:
        annotation: a type as in a signature or field.
        marks: what ``Annotated`` says beside it.

    Returns:
        'integer > 0', {'type': 'integer', 'exclusiveMinimum': 0}; anything unknown is 'any', {}.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return describe_type(arguments[0], (*arguments[1:], *marks))
    marks = tuple(inner for mark in marks for inner in (mark.metadata if isinstance(mark, FieldInfo) else [mark]))
    for mark in marks:
        if isinstance(mark, TypeBlock):
            schema = {'$ref': f'#/$defs/{mark.kind}'}
            several = annotation in _LISTS or origin in _LISTS
            return (f'list of {mark.kind} blocks', _list_of(schema)) if several else (f'{mark.kind} block', schema)
    if origin in (typing.Union, types.UnionType):
        words, schemas = zip(*(describe_type(part, marks) for part in arguments), strict=True)
        return ' or '.join(dict.fromkeys(words)), {'anyOf': list(schemas)}
    if origin is typing.Literal:
        return ' or '.join(f'`{plain_text(value)}`' for value in arguments), {'enum': list(arguments)}
    if annotation in _LISTS or origin in _LISTS:
        return _describe_list(origin, arguments)
    if annotation in _MAPPINGS or origin in _MAPPINGS:
        words, schema = describe_type(arguments[1]) if len(arguments) == 2 else ('any', {})
        patterns = [mark.pattern for mark in getattr(arguments[0], '__metadata__', ()) if isinstance(mark, KeyPattern)]
        return ('mapping' if words == 'any' else f'mapping of {words}s'), _mapping_of(schema, patterns)
    if isinstance(annotation, type) and issubclass(annotation, Block):
        return f'{annotation.kind} block', {'$ref': f'#/$defs/{annotation.kind}'}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return 'section', {'$ref': f'#/$defs/{annotation.__name__}'}
    if isinstance(annotation, type) and annotation in _WORDS:
        return _constrained(annotation, marks)
    return 'any', {}


def _constrained(annotation: type, marks: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    words, schema = _WORDS[annotation][0], dict(_WORDS[annotation][1])
    limits = []
    for mark in marks if annotation in (int, float) else ():
        for kind, field, sign, key in (
            (annotated_types.Gt, 'gt', '>', 'exclusiveMinimum'),
            (annotated_types.Ge, 'ge', '≥', 'minimum'),
            (annotated_types.Lt, 'lt', '<', 'exclusiveMaximum'),
            (annotated_types.Le, 'le', '≤', 'maximum'),
        ):
            if isinstance(mark, kind):
                limits.append(f'{sign} {getattr(mark, field)}')
                schema[key] = getattr(mark, field)
    for mark in marks if annotation is str else ():
        if isinstance(mark, PathMark):
            words = f'path of a {mark.kind}'
    return f'{words} {", ".join(limits)}'.strip(), schema


def _describe_list(origin: Any, arguments: tuple[Any, ...]) -> tuple[str, dict[str, Any]]:
    if not arguments or arguments == ((),):
        return 'list', {'type': 'array'}
    words, schema = describe_type(arguments[0])
    plural = {'any': 'values', 'text': 'texts', 'true or false': 'true or false'}.get(words, f'{words}s')
    plural = words if words.startswith('`') else plural
    if origin is tuple and arguments[-1] is not Ellipsis:
        size = len(arguments)
        items = [describe_type(part)[1] for part in arguments]
        return f'list of {size} {plural}', {'type': 'array', 'prefixItems': items, 'minItems': size, 'maxItems': size}
    return f'list of {plural}', _list_of(schema)


def _list_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'array', 'items': schema}


def _mapping_of(schema: dict[str, Any], patterns: list[str]) -> dict[str, Any]:
    mapping: dict[str, Any] = {'type': 'object', 'properties': {'_delete_': {'type': 'boolean'}}}
    if patterns:
        return {**mapping, 'patternProperties': dict.fromkeys(patterns, schema), 'additionalProperties': False}
    return {**mapping, 'additionalProperties': schema or True}


def plain_text(value: Any) -> str:
    """A default as YAML has it; '...' for objects that YAML cannot write."""
    try:
        return json.dumps(value, ensure_ascii=False).strip('"')
    except TypeError:
        return '...'


def foreign_package(entry: Callable[..., Any]) -> str | None:
    """The package that a class comes from if it is not ours: its signature and docstring change with its version."""
    package = entry.__module__.split('.')[0]
    return None if package == __name__.split('.')[0] else package


def summary_of(entry: Callable[..., Any]) -> str:
    """The first paragraph of a docstring, in one line of Markdown."""
    text = inspect.cleandoc(entry.__doc__ or '')
    return _as_markdown(' '.join(text.split('\n\n')[0].split()))


def argument_texts(entry: Callable[..., Any]) -> dict[str, str]:
    """Return the texts of the ``Args`` section in the docstring of a function, or of a class and its base classes."""
    texts: dict[str, str] = {}
    for documented in reversed(getattr(entry, '__mro__', (entry,))):
        for text in (documented.__doc__, getattr(vars(documented).get('__init__'), '__doc__', None)):
            section = re.search(r'^Args:\n((?:[ \t]+.*\n?|\n)+)', inspect.cleandoc(text or ''), re.MULTILINE)
            if section:
                texts |= _parse(inspect.cleandoc(section.group(1)))
    return {name: _as_markdown(text) for name, text in texts.items()}


def _as_markdown(text: str) -> str:
    """Roles of Sphinx and double backquotes as single backquotes."""
    text = re.sub(r':\w+:`~?([^`]*)`', lambda match: f'`{match.group(1).split(".")[-1]}`', text)
    return text.replace('``', '`')


def _parse(section: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        head = re.match(r'^([\w*]+(?:, [\w*]+)*)(?: \([^)]*\))?:\s*(.*)$', line)
        if head:
            names = [name.strip('* ') for name in head.group(1).split(',')]
            texts.update(dict.fromkeys(names, head.group(2)))
        else:
            texts.update({name: f'{texts[name]} {line.strip()}'.strip() for name in names})
    return texts
