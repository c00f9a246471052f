"""Turn plain values into options, or into a list of everything wrong with them."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel

from basicsr.options.fields import Section
from basicsr.options.schema import Options
from basicsr.utils.errors import nearest
from basicsr.utils.problems import Location, Problem, existing_part, mismatches
from basicsr.utils.signature import validate_values


def check(data: Mapping[str, Any]) -> tuple[Options | None, list[Problem]]:
    """Check the content of an option file.

    Returns:
        the options (None if there are problems), and all problems.
    """
    options, fitted, mistakes = validate_values(Options, data, {'mode': data.get('mode')})
    return options, _problems(mistakes, fitted)


def section_at(location: Location) -> type[BaseModel] | None:
    """Return the class of the section (or block) at a location of the options, or None."""
    for place, model in _models().items():
        if len(place) == len(location) and all(a in (b, '*') for a, b in zip(place, location, strict=True)):
            return model
    return None


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
    return f'; it belongs to {" or ".join(elsewhere)}' if elsewhere else f'; known: {", ".join(own)}'


def sections() -> dict[tuple[str, ...], type[Section]]:
    """Return all sections by place, with ``*`` for any key; the top level comes first."""
    return {place: model for place, model in _models().items() if issubclass(model, Section)}


def _models(root: type[BaseModel] = Options, above: tuple[str, ...] = ()) -> dict[tuple[str, ...], type[BaseModel]]:
    """Return all sections and blocks by place."""
    found = {above: root}
    for name, field in root.model_fields.items():
        annotation, place = field.annotation, (*above, name)
        if typing.get_origin(annotation) is dict:
            annotation, place = typing.get_args(annotation)[1], (*place, '*')
        for model in (annotation, *typing.get_args(annotation)):  # beside None
            if typing.get_origin(model) is Annotated:
                model = typing.get_args(model)[0]
            if typing.get_origin(model) is tuple:
                model, place = typing.get_args(model)[0], (*above, name, '*')
            if isinstance(model, type) and typing.get_origin(model) is None and issubclass(model, BaseModel):
                found.update(_models(model, place))
    return found
