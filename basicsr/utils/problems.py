"""Problems of values from option files: pydantic's mistakes in plain sentences, all in one error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.utils.errors import ArgumentError, nearest

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake in a value: its location (keys below the block) and a message."""

    location: Location
    message: str


def refuse(name: str, problems: Iterable[Problem]) -> None:
    """Raise one error for all problems.

    Raises:
        ArgumentError: there are problems.
    """
    details = [f'{".".join(map(str, p.location))}: {p.message}' if p.location else p.message for p in problems]
    if details:
        raise ArgumentError(f'{name}: ' + '; '.join(details))


def mismatches(mistakes: Iterable[Any], data: Any, default_at: Callable[[Location], Any]) -> list[Problem]:
    """Return one problem for each place with a wrong value; messages of alternatives are joined by 'or'.

    Args:
        mistakes: of pydantic.
        data: the values.
        default_at: the default of a place, for hints.
    """
    found: dict[Location, list[Any]] = {}
    for mistake in mistakes:
        found.setdefault(existing_part(mistake['loc'], data), []).append(mistake)
    problems = []
    for place, items in found.items():
        value = value_at(data, place)
        message = _mismatch(map(_message_of, items), value)
        if isinstance(value, str):
            choices = [item['ctx']['expected'] for item in items if item['type'] == 'literal_error']
            message += nearest(
                value, [text.strip("'") for text in ' or '.join(choices).replace(', ', ' or ').split(' or ')]
            )
        if isinstance(value, (bool, int, float)) and any(item['type'] == 'string_type' for item in items):
            message += '; write quotes to make it text'
        default = default_at(place) if place and value is None else None
        if isinstance(default, (bool, int, float, str, tuple, list)) and default not in ((), []):
            message += f'; leave the key out for its default, {json.dumps(default)}'
        problems.append(Problem(place, message))
    return problems


def _message_of(mistake: Mapping[str, Any]) -> str:
    """Return pydantic's message, except where a tuple has too few values: there it says 'Field required'."""
    too_few = mistake['type'] == 'missing' and mistake['loc'] and isinstance(mistake['loc'][-1], int)
    return 'Input should be a list of more values' if too_few else str(mistake['msg'])


def _mismatch(messages: Iterable[str], value: Any) -> str:
    """Return one sentence for pydantic's messages about a value: the expected values and the value found."""
    prefix = 'Input should be '
    messages = list(dict.fromkeys(messages))
    expected = ' or '.join(text.removeprefix(prefix) for text in messages if text.startswith(prefix))
    others = [text[:1].lower() + text[1:] for text in messages if not text.startswith(prefix)]
    got = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + '...'
    kind = '' if value is None else f' ({type(value).__name__})'
    for theirs, ours in (('an object', 'a mapping'), ('a valid array', 'a list'), ('null', 'nothing (null)')):
        expected = expected.replace(theirs, ours)
    parts = ([f'expected {expected}'] if expected else []) + others
    return f'{"; ".join(parts)}, got {"nothing (null)" if value is None else got}{kind}'


def value_at(value: Any, location: Iterable[str | int]) -> Any:
    """Return the value below ``value`` under these keys and indices."""
    for key in location:
        value = value[key]
    return value


def existing_part(location: Location, value: Any) -> Location:
    """Return the leading keys of a pydantic location that exist in the value; branches of unions add further names."""
    keys: list[str | int] = []
    for key in location:
        known: bool = isinstance(value, dict) and key in value
        if known or (isinstance(value, (list, tuple)) and key in range(len(value))):
            keys.append(key)
            value = value[key]
    return tuple(keys)
