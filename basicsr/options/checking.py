"""Turn plain values into options, or into a list of everything wrong with them."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from basicsr.options.fields import Section
from basicsr.options.schema import Options
from basicsr.utils.errors import nearest
from basicsr.utils.signature import Location, Problem, existing_part, mismatches, validate


def check(data: Mapping[str, Any]) -> tuple[Options | None, list[Problem]]:
    """Check the content of an option file.

    Returns:
        the options (None if there are problems), and all problems.
    """
    options, fitted, mistakes = validate(Options, data, {'mode': data.get('mode')})
    return options, _problems(mistakes, fitted)


def section_at(location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The class of the section (or block) at a place of the options; None where there is none."""
    annotation: Any = Options
    for key in location:
        model = model_in(annotation)
        if model is not None:
            if key not in model.model_fields:
                return None
            annotation = model.model_fields[str(key)].annotation
        else:
            values = dict_values(annotation)
            if values is None:
                return None
            annotation = values
    return model_in(annotation)


def _problems(mistakes: list[Any], data: Any) -> list[Problem]:
    problems, others = [], []
    misnamed = [existing_part(item['loc'], data) for item in mistakes if item['type'] == 'phase']
    for item in mistakes:
        location = item['loc']
        section = section_at(location[:-1]) if location else None
        if item['type'] == 'extra_forbidden' and section is not None:
            problems.append(Problem(location, f'unknown key{_hint(str(location[-1]), section)}'))
        elif item['type'] == 'missing' and section is not None:
            meaning = section.model_fields[str(location[-1])].description or ''
            problems.append(Problem(location, f'a required key is missing ({meaning.rstrip(".")})'))
        elif item['type'] == 'block':
            problems += [Problem((*location, *inner.location), inner.message) for inner in item['ctx']['problems']]
        elif item['type'] in ('needs', 'phase', 'path'):
            problems.append(Problem(existing_part(location, data), item['msg']))
        else:
            others.append(item)
    problems += mismatches(others, data, _default_at)
    return [
        p
        for p in problems
        if not any(p.location[: len(top)] == top and not p.message.startswith('unknown phase') for top in misnamed)
    ]


def _default_at(location: Location) -> Any:
    section = section_at(location[:-1])
    field = section.model_fields.get(str(location[-1])) if section is not None else None
    return None if field is None else field.default


def _hint(key: str, section: type[BaseModel]) -> str:
    """Return the nearest key of the section, else the sections that have this very key, else all its keys."""
    own = [*section.model_fields, *(['_base_'] if section is Options else [])]
    elsewhere = ['.'.join(place) or 'the top level' for place, other in sections().items() if key in other.model_fields]
    if nearest(key, own):
        return nearest(key, own)
    return f'; it belongs to {" or ".join(elsewhere)}' if elsewhere else f'; known are {", ".join(own)}'


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The section class that an annotation is, or allows beside None."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        found = [model for part in typing.get_args(annotation) if (model := model_in(part))]
        return found[0] if found else None
    return None


def dict_values(annotation: Any) -> Any:
    """The type of the values of a mapping whose keys may be anything, else None."""
    arguments = typing.get_args(annotation)
    return arguments[1] if typing.get_origin(annotation) is dict else None


def sections(root: type[Section] = Options, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], type[Section]]:
    """All sections by place, each key that may be anything written as ``*``; the root comes first."""
    found = {above: root}
    for name, field in root.model_fields.items():
        values = dict_values(field.annotation)
        model = model_in(field.annotation if values is None else values)
        if model is not None and issubclass(model, Section):
            found.update(sections(model, (*above, name) if values is None else (*above, name, '*')))
    return found
