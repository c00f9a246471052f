"""Apply ``--force_yml train:optim_g:lr=5e-4``: options from the command line on top of those from the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from basicsr.options.includes import merge
from basicsr.options.reader import Position, Tree, read_text
from basicsr.utils.errors import OptionError

FLAG = '--force_yml'


def apply_overrides(tree: Tree, arguments: Iterable[str]) -> tuple[Tree, list[tuple[Position, str]]]:
    """Set keys from arguments of the form ``a:b:c=value``; later ones win.

    The value is parsed as YAML and replaces that of the file, with or without ``_delete_: true``. The key need not be
    in the file; unknown keys are reported later, with those of the file.

    Args:
        tree: values of the file; left unchanged.
        arguments: the command-line arguments.

    Returns:
        the new tree, in which the position of these values is their argument, and the arguments that cannot be used.
    """
    problems = []
    for argument in arguments:
        position = Position(f"{FLAG} '{argument}'")
        name, equals, text = argument.partition('=')
        keys = name.split(':')
        if not equals:
            problems.append((position, "'=' is missing; write key:key=value, for example train:optim_g:lr=5e-4"))
        elif not all(key.strip() == key and key for key in keys):
            problems.append((position, "a key is empty; write key:key=value, without spaces around ':' and '='"))
        elif len(keys) == 1 and '.' in name:
            problems.append((position, f"unknown key; did you mean '{name.replace('.', ':')}'?"))
        else:
            try:
                value = merge(Tree(None, position), read_text(text, position.file, line=False))
                tree = _with_value(tree, keys, value, position)
            except OptionError as error:
                problems += [(position, problem.removeprefix(f'{position}: ')) for problem in error.problems]
    return tree, problems


def _with_value(tree: Tree, keys: list[str], value: Tree, position: Position, above: tuple[str, ...] = ()) -> Tree:
    if not keys:
        return value
    if tree.value is None:
        tree = Tree({}, position)
    if not isinstance(tree.value, dict):
        what = (
            f'a list; set it as a whole ({":".join(above)}=[...])' if isinstance(tree.value, list) else repr(tree.value)
        )
        raise OptionError(f'{position}: {".".join(above)} has no keys, its value is {what}')
    values: dict[str, Any] = dict(tree.value)
    inner = values.get(keys[0], Tree(None, position))
    values[keys[0]] = _with_value(inner, keys[1:], value, position, (*above, keys[0]))
    return Tree(values, tree.position)
