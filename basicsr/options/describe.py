"""Describe types, defaults and docstrings in words and as JSON schema, for the generated documentation."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from basicsr.utils.signature import STRICT

_WORDS = {'boolean': 'true or false', 'integer': 'integer', 'number': 'number', 'string': 'string', 'null': 'null'}
_LIMITS = {'exclusiveMinimum': '>', 'minimum': '≥', 'exclusiveMaximum': '<', 'maximum': '≤'}
_NAMED = ('properties', 'patternProperties')  # keywords whose keys are names
_DELETE = {'type': 'boolean', 'description': 'true drops the keys of the included files here.'}


class _Generator(GenerateJsonSchema):
    """Generates schemas in which types without a JSON schema, such as tensors, accept any value."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def schema_of(described: Any) -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a type, or of a model with the sections it refers to under ``$defs``.

    It accepts ``_delete_`` in each mapping, and refers to the blocks of a kind as ``#/$defs/<kind>``.
    """
    arguments: dict[str, Any] = {'ref_template': '#/$defs/{model}', 'schema_generator': _Generator}
    if isinstance(described, type) and issubclass(described, BaseModel):
        schema = described.model_json_schema(**arguments)
    else:
        schema = TypeAdapter(described, config=STRICT).json_schema(**arguments)
    definitions = schema.pop('$defs', {})
    blocks = {f'#/$defs/{name}': entry['$block'] for name, entry in definitions.items() if '$block' in entry}

    def ours(part: Any) -> Any:
        if isinstance(part, list):
            return [ours(item) for item in part]
        if not isinstance(part, dict):
            return part
        kind = part.get('$block') or blocks.get(part.get('$ref', ''))
        if kind is not None:
            part = {'$ref': f'#/$defs/{kind}', 'description': part.get('description')}
        changed = {key: ours(value) for key, value in part.items() if key not in ('title', 'default', *_NAMED)}
        changed |= {key: {name: ours(value) for name, value in part[key].items()} for key in _NAMED if key in part}
        if isinstance(part.get('default'), (bool, int, float, str)):
            changed['default'] = part['default']
        if part.get('type') == 'object':
            changed['properties'] = {**changed.get('properties', {}), '_delete_': _DELETE}
            changed.pop('required', None)  # an included file may set it
            changed.setdefault('additionalProperties', False)
        return {key: value for key, value in changed.items() if value is not None}

    found: dict[str, Any] = ours(schema)
    kept = {name: ours(entry) for name, entry in definitions.items() if '$block' not in entry}
    return {**found, '$defs': kept} if kept else found


def in_words(schema: dict[str, Any]) -> str:
    """Return the type that a JSON schema of :func:`schema_of` describes, such as 'integer ≥ 1', or 'any'."""
    if '$ref' in schema:
        kind = schema['$ref'].removeprefix('#/$defs/')
        return 'section' if kind[0].isupper() else f'{kind} block'
    if 'anyOf' in schema:
        return ' or '.join(dict.fromkeys(map(in_words, schema['anyOf'])))
    if 'enum' in schema or 'const' in schema:
        return ' or '.join(f'`{plain_text(value)}`' for value in schema.get('enum', [schema.get('const')]))
    kind = schema.get('type')
    if kind == 'array':
        items = schema.get('prefixItems', [schema.get('items', {})])
        number = f'{len(items)} ' if 'prefixItems' in schema else ''
        word = in_words(items[0]) if items else 'any'
        return 'list' if word == 'any' else f'list of {number}{_plural(word)}'
    if kind == 'object':
        inner = [*schema.get('patternProperties', {}).values(), schema['additionalProperties']][0]
        word = in_words(inner) if isinstance(inner, dict) else 'any'
        return 'mapping' if word == 'any' else f'mapping of {_plural(word)}'
    if kind == 'string' and 'format' in schema:
        return f'{schema["format"]} path'
    limits = ', '.join(f'{sign} {schema[key]:g}' for key, sign in _LIMITS.items() if key in schema)
    return f'{_WORDS.get(str(kind), "any")} {limits}'.strip()


def _plural(word: str) -> str:
    first, limit = re.fullmatch(r'(.*?)( [<>≤≥] .*)?', word).groups('')  # type: ignore[union-attr]
    return word if word.startswith('`') or word == _WORDS['boolean'] else f'{first}s{limit}'


def plain_text(value: Any) -> str:
    """Return a default in YAML notation; '...' for objects that YAML cannot express."""
    try:
        return json.dumps(value, ensure_ascii=False).strip('"')
    except TypeError:
        return '...'


def foreign_package(entry: Callable[..., Any]) -> str | None:
    """Return the third-party package of a class; its signature and docstring change with its version. None for ours."""
    package = entry.__module__.split('.')[0]
    return None if package == __name__.split('.')[0] else package


def summary_of(entry: Callable[..., Any]) -> str:
    """Return the first paragraph of a docstring as one line of Markdown."""
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
    return {name: _as_option_text(_as_markdown(text)) for name, text in texts.items()}


def _as_markdown(text: str) -> str:
    """Replace Sphinx roles and double backquotes by single backquotes."""
    text = re.sub(r':\w+:`~?([^`]*)`', lambda match: f'`{match.group(1).split(".")[-1]}`', text)
    return text.replace('``', '`')


def _as_option_text(text: str) -> str:
    """Write Python values as in an option file (``null``, `mean`), and start with a capital letter."""
    text = re.sub(r"(?<!\w)'(\w+)'(?!\w)", r'`\1`', text)
    text = re.sub(r'\bNone\b', 'null', text)
    return text[:1].upper() + text[1:]


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
