"""Include option files with ``_base_``, so that a fact is stated once."""

from __future__ import annotations

import os
from pathlib import Path

from basicsr.options.reader import Tree, as_mapping, read_bytes, read_text
from basicsr.options.shipped import find_shipped
from basicsr.utils.errors import OptionError

BASE_KEY = '_base_'
DELETE_KEY = '_delete_'


def read_file(path: str | Path) -> Tree:
    """Read an option file with everything it includes.

    The files under ``_base_`` (one, or a list in which later ones win) are relative to the including file, or names of
    shipped files (see :func:`~basicsr.options.shipped.find_shipped`). The file itself overrides them. Mappings are
    merged key by key, other values are replaced; ``_delete_: true`` inside a mapping drops the keys of the base.

    Returns:
        the values, each with the position of the file that set it last.

    Raises:
        OptionError: all mistakes in the text of these files.
    """
    problems: list[str] = []
    tree = _read(Path(path), (), {}, problems)
    if tree is None:
        raise OptionError(dict.fromkeys(problems))
    return tree


def merge(base: Tree, over: Tree) -> Tree:
    """Return ``over`` on top of ``base``; both are left unchanged."""
    mappings = isinstance(base.value, dict) and isinstance(over.value, dict)
    if not mappings or (DELETE_KEY in over.value and over.value[DELETE_KEY].value is True):
        return _without_marks(over)
    values = dict(base.value)
    for key, tree in over.value.items():
        if key != DELETE_KEY:
            values[key] = merge(values[key], tree) if key in values else _without_marks(tree)
    return Tree(values, over.position)


def _read(path: Path, chain: tuple[Path, ...], done: dict[Path, Tree | None], problems: list[str]) -> Tree | None:
    """Return the file with its bases merged in, or None with its mistakes appended to ``problems``."""
    real = path.resolve()
    if any(real == earlier.resolve() for earlier in chain):
        names = ' -> '.join(str(earlier) for earlier in (*chain, path))
        problems.append(f'{chain[-1]}: {BASE_KEY} includes itself: {names}')
        return None
    if real not in done:
        before = len(problems)
        try:
            tree = read_text(read_bytes(path), str(path))
            result = _with_bases(tree, path, chain, done, problems)
        except OptionError as error:
            problems += error.problems
        done[real] = result if len(problems) == before else None
    return done[real]


def _with_bases(
    tree: Tree, path: Path, chain: tuple[Path, ...], done: dict[Path, Tree | None], problems: list[str]
) -> Tree:
    own = dict(as_mapping(tree))
    problems += _bad_marks(tree)
    result = Tree({}, tree.position)
    for name in _base_names(own.pop(BASE_KEY, None)):
        base = Path(os.path.normpath(path.parent / str(name.value)))
        if not base.is_file():
            try:
                base = find_shipped(str(name.value)) or base
            except OptionError as error:
                problems.append(f'{name.position}: {BASE_KEY}: {error}')
                continue
        if not base.is_file():
            problems.append(f'{name.position}: {BASE_KEY}: no such option file: {base}')
            continue
        included = _read(base, (*chain, path), done, problems)
        if included is not None:
            result = merge(result, included)
    return merge(result, Tree(own, tree.position))


def _base_names(tree: Tree | None) -> list[Tree]:
    if tree is None:
        return []
    names = tree.value if isinstance(tree.value, list) else [tree]
    wrong = [name for name in names if not isinstance(name.value, str)]
    if wrong:
        raise OptionError(f'{name.position}: {BASE_KEY}: expected a file name, got {name.plain()!r}' for name in wrong)
    return names


def _without_marks(tree: Tree) -> Tree:
    if not isinstance(tree.value, dict):
        return tree
    return Tree({key: _without_marks(sub) for key, sub in tree.value.items() if key != DELETE_KEY}, tree.position)


def _bad_marks(tree: Tree) -> list[str]:
    """Return the problem of each ``_delete_`` that is neither true nor false."""
    if not isinstance(tree.value, dict):
        return []
    problems = [problem for sub in tree.value.values() for problem in _bad_marks(sub)]
    mark = tree.value.get(DELETE_KEY)
    if mark is not None and not isinstance(mark.value, bool):
        problems.append(f'{mark.position}: {DELETE_KEY}: expected true or false, got {mark.plain()!r}')
    return problems
