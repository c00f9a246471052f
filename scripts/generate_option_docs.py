"""Write docs/options.md and docs/options.schema.json from the schema of the options and the registered classes.

The introduction of docs/options.md, above the heading "Keys", is written by hand.
"""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))

import argparse
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from basicsr.options import Options, legacy, reference
from basicsr.options.checking import sections
from basicsr.options.describe import argument_texts, foreign_package, in_words, plain_text, schema_of, summary_of
from basicsr.options.fields import Block, Legacy, Section, has_mark
from basicsr.options.schema_data import DatasetOptions
from basicsr.utils.console import run_and_exit
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import arguments_model

PAGE = ROOT / 'docs' / 'options.md'
BLOCKS: tuple[type[Block], ...] = (DatasetOptions, *(b for b in Block.__subclasses__() if b is not DatasetOptions))

REFERENCE = """\
Defects of the original are fixed unless the file sets `mode: reference`. A file without `mode`
that uses keys or types of the original runs as `reference`, with a notice. Reference mode sets the following arguments
in blocks whose class accepts them, unless the file sets them:
"""


def markdown() -> str:
    """Return the text of docs/options.md."""
    introduction = PAGE.read_text(encoding='utf-8').partition('## Keys\n')[0]  # written by hand
    parts = [f'{introduction}## Keys\n']
    for place, section in sections().items():
        name = '.'.join(place).replace('datasets.*', 'datasets.<phase>')
        parts += [
            f'### `{name}`\n' if name else '### Top level\n',
            f'{summary_of(section)}\n',
            _field_table(section, section.model_fields),
        ]
    parts += ['## Types\n']
    for block in BLOCKS:
        parts.append(f'### Types of {block.kind} blocks\n')
        if block.own_fields():
            parts += [f'{summary_of(block)}\n', 'In addition to the arguments of its type, it has these keys:\n']
            parts.append(_field_table(_model(block, block.names()[0]), block.own_fields()))
        for name in block.names():
            entry = REGISTRIES[block.kind].get(name)
            parts.append(f'#### `{name}`\n')
            package = foreign_package(entry)
            if package:
                parts.append(f'See the documentation of {package} for the arguments.\n')
            else:
                model = _model(block, name)
                arguments = [key for key in model.model_fields if key not in block.model_fields]
                parts += [f'{summary_of(entry)}\n', _field_table(model, arguments, argument_texts(entry), 'argument')]
    switches = [(s.kind, f'`{s.argument}`', f'`{plain_text(s.value)}`', s.why) for s in reference.SWITCHES]
    parts += ['## `mode: reference`\n', REFERENCE, _table(('block', 'argument', 'value', 'why'), switches)]
    parts += [
        '## Keys of other repositories\n',
        'Keys and types of SAM-Deblur, NAFNet and Restormer that differ here. Each is accepted with a notice.\n',
    ]
    parts += [_table(('key or type', 'effect'), _legacy_rows())]
    return '\n'.join(parts)


def json_schema() -> dict[str, Any]:
    """Return the content of docs/options.schema.json (draft 2020-12)."""
    root = schema_of(Options)
    definitions = root.pop('$defs')
    for place, section in sections().items():
        described = definitions[section.__name__] if place else root
        described['description'] = summary_of(section)
    for block in BLOCKS:
        names = block.names()
        definitions[block.kind] = {'anyOf': [{'$ref': f'#/$defs/{block.kind}.{name}'} for name in names]}
        for name in names:
            definitions[f'{block.kind}.{name}'] = _block_schema(block, name)
    base = {'anyOf': [{'type': 'string'}, {'type': 'array', 'items': {'type': 'string'}}]}
    base['description'] = 'Option files to build on, relative to this one; later ones win.'  # type: ignore[assignment]
    root['properties'] = {'_base_': base, **root['properties']}
    required = [name for name, field in Options.model_fields.items() if field.is_required()]
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Option file',
        **root,
        'if': {'not': {'required': ['_base_']}},  # a base file may set the required keys
        'then': {'required': required},
        '$defs': definitions,
    }


def _block_schema(block: type[Block], name: str) -> dict[str, Any]:
    entry = REGISTRIES[block.kind].get(name)
    if foreign_package(entry):  # which arguments there are depends on the version of the package
        return {'type': 'object', 'properties': {'type': {'const': name}}}
    schema, texts = schema_of(_model(block, name)), argument_texts(entry)
    for argument, described in schema['properties'].items():
        if argument in texts:
            described.setdefault('description', texts[argument])
    schema['properties'] = {'type': {'const': name}, **schema['properties']}
    return {**schema, 'description': summary_of(entry)}


def _model(block: type[Block], name: str) -> type[BaseModel]:
    """Return the model of the arguments of a type, and of the keys beside them."""
    registry = REGISTRIES[block.kind]
    return arguments_model(registry.get(name), (*registry.supplied, *block.supplied), block)


def _field_table(
    model: type[BaseModel], names: Iterable[str], texts: Mapping[str, str] = MappingProxyType({}), head: str = 'key'
) -> str:
    """Return the table of the fields of a model; ``texts`` are their meanings where the field has no description."""
    schemas, rows = schema_of(model)['properties'], []
    for field in (model.model_fields[name] for name in names):
        name = field.alias or next(key for key, known in model.model_fields.items() if known is field)
        default = '**required**'
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            default = '' if isinstance(value, Section) else f'`{plain_text(value)}`'
        legacy_note = ' *(original only)*' if has_mark(field, Legacy) else ''
        rows.append(
            (f'`{name}`', in_words(schemas[name]), default, f'{field.description or texts.get(name, "")}{legacy_note}')
        )
    return _table((head, 'type', 'default', 'meaning'), rows) if rows else 'No arguments.\n'


def _legacy_rows() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(f'`{".".join(key.path)}`', key.meaning) for key in legacy.KEYS]
    rows += [(f'`{".".join(t.path)}: {t.old}`', f'read as `{t.new}`: {t.why}') for t in legacy.TYPES]
    return rows


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple('---' for _ in head), *rows]
    return '\n'.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines) + '\n'


def main(arguments: list[str] | None = None) -> int:
    """Write both files, or with ``--check`` report outdated files (exit code 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='do not write; exit with code 1 if a file is out of date')
    check = parser.parse_args(arguments).check
    texts = {
        PAGE: markdown(),
        ROOT / 'docs' / 'options.schema.json': json.dumps(json_schema(), indent=1, ensure_ascii=False) + '\n',
    }
    stale = 0
    for path, text in texts.items():
        current = path.read_text(encoding='utf-8') if path.is_file() else None
        if current == text:
            continue
        stale += 1
        if check:
            print(f'{path.relative_to(ROOT)} is out of date; run python scripts/generate_option_docs.py')
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding='utf-8')
            print(f'{path.relative_to(ROOT)} written')
    return 1 if check and stale else 0


if __name__ == '__main__':
    run_and_exit(main)
