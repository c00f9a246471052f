"""Write docs/options.md and docs/options.schema.json from the schema of the options and the registered classes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))

import argparse
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from basicsr.options import Options, legacy, reference
from basicsr.options.checking import sections
from basicsr.options.describe import argument_texts, describe_type, foreign_package, plain_text, summary_of
from basicsr.options.fields import (
    Block,
    LossBlock,
    MetricBlock,
    NetworkBlock,
    OptimizerBlock,
    SchedulerBlock,
    Section,
    is_legacy,
)
from basicsr.options.schema_data import DatasetOptions
from basicsr.utils.console import run
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import parameters_of

BLOCKS: tuple[type[Block], ...] = (DatasetOptions, NetworkBlock, LossBlock, MetricBlock, OptimizerBlock, SchedulerBlock)

INTRODUCTION = """\
# Options

Written by `python scripts/generate_option_docs.py`; change the schema or the docstrings instead.

An option file is YAML. Check one with `python scripts/check_options.py -opt FILE`: it names every mistyped key,
wrong type and unknown name at once, with its line; `--show` prints the file with its includes merged and the
defaults of all keys filled in (arguments of `type` blocks stay as written).

* `_base_: file` (or a list of files, later ones win), relative to the file that says it, includes other option files.
  The file itself wins over what it includes. Mappings are merged key by key, lists are replaced whole;
  `_delete_: true` inside a mapping drops what the included files say there.
* `-opt` and `_base_` also find shipped files by name: `GoPro/SAMDeblur`, `train/GoPro/SAMDeblur` where there are two.
* `--force_yml train:optim_g:lr=5e-4 datasets:train:gt_size=128` sets any key on the command line. The value is YAML.
* `1e-4` is a number; `5e3` is an integer where one is expected; dates are text.
* `~`, `$VAR` and `${VAR}` in paths are replaced when the file is read. Whether paths exist is asked
  when something is run, or by `check_options.py --paths`.
* A block with `type` names a registered class; its other keys are arguments of that class (see [Types](#types)).
* Editors that know `docs/options.schema.json` complete and check keys while you type: the first line of our files,
  `# yaml-language-server: $schema=...`, points at it.
"""

REFERENCE = """\
Where the original has a defect, we do the right thing unless the file says `mode: reference`. A file without `mode`
that uses keys or types of the original runs as `reference`, with a notice. Reference mode sets these arguments in
blocks whose class has them and that do not set them:
"""


def markdown() -> str:
    """The text of docs/options.md."""
    parts = [INTRODUCTION, '## Keys\n']
    for place, section in sections().items():
        name = '.'.join(place).replace('datasets.*', 'datasets.<phase>')
        parts += [
            f'### `{name}`\n' if name else '### Top level\n',
            f'{summary_of(section)}\n',
            _field_table(section.model_fields),
        ]
    parts += ['## Types\n']
    for block in BLOCKS:
        parts.append(f'### Types of {block.kind} blocks\n')
        if block.own_fields():
            parts += [f'{summary_of(block)}\n', 'Beside the arguments of its type it has these keys:\n']
            parts.append(_field_table(block.own_fields()))
        for name in block.names():
            entry = REGISTRIES[block.kind].get(name)
            parts.append(f'#### `{name}`\n')
            package = foreign_package(entry)
            if package:
                parts.append(f'The class of that name in {package}, whose documentation describes the arguments.\n')
            else:
                parts += [f'{summary_of(entry)}\n', _argument_table(block, name)]
    parts += ['## `mode: reference`\n', REFERENCE, _table(('block', 'argument', 'value', 'why'), _switches())]
    parts += ['## What only the original has\n', 'Each is accepted with one line of notice.\n']
    parts += [_table(('key or type', 'what happens'), _legacy_rows())]
    return '\n'.join(parts)


def json_schema() -> dict[str, Any]:
    """The content of docs/options.schema.json (draft 2020-12)."""
    definitions: dict[str, Any] = {}
    for section in sections().values():
        if section is not Options:
            definitions[section.__name__] = _section_schema(section)
    for block in BLOCKS:
        names = block.names()
        definitions[block.kind] = {'anyOf': [{'$ref': f'#/$defs/{block.kind}.{name}'} for name in names]}
        if not names:
            definitions[block.kind] = {'type': 'object'}
        for name in names:
            definitions[f'{block.kind}.{name}'] = _block_schema(block, name)
    root = _section_schema(Options)
    base = {'anyOf': [{'type': 'string'}, {'type': 'array', 'items': {'type': 'string'}}]}
    base['description'] = 'Option files to build on, relative to this one; later ones win.'  # type: ignore[assignment]
    root['properties'] = {'_base_': base, **root['properties']}
    required = [name for name, field in Options.model_fields.items() if field.is_required()]
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Option file',
        **root,
        'if': {'not': {'required': ['_base_']}},  # with a base, the base may bring what is required
        'then': {'required': required},
        '$defs': definitions,
    }


def _section_schema(section: type[Section]) -> dict[str, Any]:
    return _closed(summary_of(section), _field_schemas(section.model_fields))


def _field_schemas(fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, field in fields.items():
        schema = {**describe_type(field.annotation, tuple(field.metadata))[1], 'description': field.description}
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, (bool, int, float, str)):
            schema['default'] = default
        if is_legacy(field):
            schema['deprecated'] = True
        properties[name] = schema
    return properties


def _block_schema(block: type[Block], name: str) -> dict[str, Any]:
    registry = REGISTRIES[block.kind]
    entry = registry.get(name)
    properties: dict[str, Any] = {'type': {'const': name}}
    if foreign_package(entry):  # which arguments there are depends on the version of the package
        return {'type': 'object', 'properties': properties}
    texts = argument_texts(entry)
    properties |= _field_schemas(block.own_fields())
    for argument, parameter in parameters_of(entry, (*registry.supplied, *block.supplied)).items():
        schema = dict(describe_type(parameter.annotation)[1])
        if argument in texts:
            schema['description'] = texts[argument]
        if isinstance(parameter.default, (bool, int, float, str)):
            schema['default'] = parameter.default
        properties[argument] = schema
    return _closed(summary_of(entry), properties)


def _closed(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    properties['_delete_'] = {'type': 'boolean', 'description': 'true drops what the included files say here.'}
    return {'type': 'object', 'description': description, 'properties': properties, 'additionalProperties': False}


def _field_table(fields: Mapping[str, FieldInfo]) -> str:
    rows = []
    for name, field in fields.items():
        words = describe_type(field.annotation, tuple(field.metadata))[0]
        default = '**required**'
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            default = '' if isinstance(value, Section) else f'`{plain_text(value)}`'
        legacy_note = ' *(original only)*' if is_legacy(field) else ''
        rows.append((f'`{name}`', words, default, f'{field.description}{legacy_note}'))
    return _table(('key', 'type', 'default', 'meaning'), rows)


def _argument_table(block: type[Block], name: str) -> str:
    registry = REGISTRIES[block.kind]
    entry = registry.get(name)
    texts = argument_texts(entry)
    rows = []
    for argument, parameter in parameters_of(entry, (*registry.supplied, *block.supplied)).items():
        required = parameter.default is inspect.Parameter.empty
        default = '**required**' if required else f'`{plain_text(parameter.default)}`'
        rows.append((f'`{argument}`', describe_type(parameter.annotation)[0], default, texts.get(argument, '')))
    return _table(('argument', 'type', 'default', 'meaning'), rows) if rows else 'No arguments.\n'


def _switches() -> list[tuple[str, ...]]:
    return [(s.kind, f'`{s.argument}`', f'`{plain_text(s.value)}`', s.why) for s in reference.SWITCHES]


def _legacy_rows() -> list[tuple[str, ...]]:
    rows = [(f'`{".".join(key.path)}`', key.meaning) for key in legacy.KEYS]
    rows += [(f'`{".".join(t.path)}: {t.old}`', f'read as `{t.new}`: {t.why}') for t in legacy.TYPES]
    return [tuple(row) for row in rows]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple('---' for _ in head), *rows]
    return '\n'.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in line) + ' |' for line in lines) + '\n'


def main(arguments: list[str] | None = None) -> int:
    """Write both files, or with ``--check`` tell whether they are current (exit code 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--check', action='store_true', help='write nothing; exit code 1 if a file is out of date')
    check = parser.parse_args(arguments).check
    texts = {
        ROOT / 'docs' / 'options.md': markdown(),
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
    sys.exit(run(main))
