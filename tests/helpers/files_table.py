"""The table of docs/files.md, whose rows the tests of photos, videos and masks try."""

from __future__ import annotations

import re

from tests.helpers.project import ROOT

REFUSED, CONVERTED, KEPT = 'refused', 'converted', 'kept'
"""How the last cell of a row begins."""

Row = tuple[str, str, str]


def table() -> list[Row]:
    """All rows: a kind of file, what is in it, and what becomes of it."""
    text = (ROOT / 'docs/files.md').read_text(encoding='utf-8')
    lines = text[text.index('| file | content | result |') :].split('\n\n')[0].splitlines()[2:]
    rows = [line.strip().removeprefix('|').removesuffix('|').split(' | ') for line in lines]
    return [(row[0].strip(), row[1].strip(), row[2].strip()) for row in rows]


def rows_of(*kinds: str) -> list[Row]:
    """The rows of some kinds of files; without a kind, those of photos."""
    return [row for row in table() if (row[0] in kinds if kinds else row[0] not in ('videos', 'masks'))]


def name_of(row: Row) -> str:
    """A short name of a row."""
    return re.sub(r'\W+', '_', f'{row[0]}_{row[1]}')[:45]


def key_of(row: Row, keys: list[tuple[str, str]]) -> tuple[str, str]:
    """The one key, a kind and how its second cell begins, that a row belongs to."""
    (found,) = [key for key in keys if row[0] == key[0] and row[1].startswith(key[1])]
    return found
