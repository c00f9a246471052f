"""Parse YAML into plain values with the file and line of each; report all mistakes of a file at once."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)

NODE_LIMIT = 100_000  # values in one file with every alias written out; a real option file has a few hundred
DEPTH_LIMIT = 50
_TAG = 'tag:yaml.org,2002:'
_SCALARS = frozenset(_TAG + name for name in ('null', 'bool', 'int', 'float', 'str'))
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
        |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


@dataclass(frozen=True, order=True)
class Position:
    """Position of a key: a line of a file, or a command-line argument (``line`` 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f'{self.file}:{self.line}' if self.line else self.file


@dataclass(frozen=True)
class Tree:
    """A value with its position; ``value`` is a dict or list of further trees, or a scalar."""

    value: Any
    position: Position

    def plain(self) -> Any:
        """Return the value without positions."""
        if isinstance(self.value, dict):
            return {key: tree.plain() for key, tree in self.value.items()}
        if isinstance(self.value, list):
            return [tree.plain() for tree in self.value]
        return self.value

    def locate(self, location: Iterable[str | int]) -> Position:
        """Return the position of the value under these keys, or of its nearest existing parent."""
        tree = self
        for key in location:
            inner = tree.value
            known = isinstance(inner, dict) and key in inner
            if known or (isinstance(inner, list) and key in range(len(inner))):
                tree = inner[key]
            else:
                break
        return tree.position


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return YAML's rules for unquoted text, except that 1e-4 is a number and dates are text."""
    drop = {_TAG + 'timestamp', _TAG + 'float'}
    rules = {
        first: [(tag, pattern) for tag, pattern in known if tag not in drop]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in '-+0123456789.':
        rules.setdefault(first, []).insert(0, (_TAG + 'float', _FLOAT))
    return rules


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()


class OptionDumper(yaml.SafeDumper):
    """Dumper whose output :func:`read_text` reads back: text that looks like a number gets quotes."""

    yaml_implicit_resolvers = _resolvers()

    def ignore_aliases(self, data: Any) -> bool:
        """Write repeated values in full instead of as anchors."""
        return True


def read_bytes(path: Path) -> bytes:
    """Read the content of an option file.

    Raises:
        OptionError: the file does not exist, is a folder, or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise OptionError(f'{path}: no such option file') from None
    except OSError as error:
        raise OptionError(f'{path}: cannot be read ({error.strerror or error})') from None


def read_text(content: bytes | str, name: str, line: bool = True) -> Tree:
    """Parse one YAML document.

    Args:
        content: the document; bytes must be UTF-8.
        name: name of the source in positions: the path of the file, or the command-line argument.
        line: whether positions have line numbers.

    Returns:
        the values with their positions.

    Raises:
        OptionError: all mistakes in the text: syntax, duplicate keys, tags other than YAML's scalars, too many values
            after aliases are expanded.
    """
    if isinstance(content, bytes):
        try:
            content = content.decode('utf-8-sig')
        except UnicodeDecodeError as error:
            where = Position(name, error.object[: error.start].count(b'\n') + 1)
            raise OptionError(f'{where}: not UTF-8 text (byte {error.start})') from None
    loader = None
    try:
        loader = _Loader(content)
        node = loader.get_single_node()
        builder = _Builder(loader, name, line)
        tree = builder.build(node) if node else Tree(None, Position(name, int(line)))
    except RecursionError:
        raise OptionError(f'{name}: nested too deeply') from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Position(name, mark.line + 1 if mark and line else 0)
        context = f'{error.context}: ' if error.context else ''
        tab = "'\\t'" in (error.problem or '')
        hint = '; indent with spaces instead of tabs' if tab else ''
        raise OptionError(f'{where}: not valid YAML: {context}{error.problem}{hint}') from None
    except yaml.reader.ReaderError as error:
        where = Position(name, content[: error.position].count('\n') + 1 if line else 0)
        raise OptionError(f'{where}: not valid YAML: {error.reason} (#x{int(error.character):04x})') from None
    finally:
        if loader is not None:
            loader.dispose()
    if builder.problems:
        raise OptionError(builder.problems)
    return tree


class _Builder:
    """Builder of the trees of one document, which collects their mistakes."""

    def __init__(self, loader: _Loader, name: str, line: bool) -> None:
        self.loader = loader
        self.name = name
        self.line = line
        self.count = 0
        self.open: set[int] = set()
        self.problems: list[str] = []

    def at(self, node: yaml.Node) -> Position:
        return Position(self.name, node.start_mark.line + 1 if self.line else 0)

    def build(self, node: yaml.Node, position: Position | None = None) -> Tree:
        position = position or self.at(node)
        self.count += 1
        if self.count > NODE_LIMIT:
            raise OptionError(f'{self.at(node)}: more than {NODE_LIMIT} values after aliases are expanded')
        if id(node) in self.open:
            raise OptionError(f'{self.at(node)}: the anchor contains an alias of itself')
        if len(self.open) > DEPTH_LIMIT:
            raise OptionError(f'{self.at(node)}: nested too deeply')
        if isinstance(node, yaml.ScalarNode):
            return Tree(self.scalar(node), position)
        self.open.add(id(node))
        value: Any
        if node.tag not in (_TAG + 'map', _TAG + 'seq'):
            self.refuse(node)
            value = None
        elif isinstance(node, yaml.MappingNode):
            value = self.mapping(node)
        else:
            value = [self.build(item) for item in node.value]
        self.open.discard(id(node))
        return Tree(value, position)

    def mapping(self, node: yaml.MappingNode) -> dict[str, Tree]:
        merged: dict[str, Tree] = {}
        own: dict[str, Tree] = {}
        lines: dict[str, Position] = {}
        for key_node, value_node in node.value:
            merge = key_node.tag == _TAG + 'merge'
            key = '<<' if merge else self.key(key_node)
            if key is None:
                continue
            if key in lines:
                first = f'; first at line {lines[key].line}' if self.line else ''
                if key in own and own[key].plain() == self.build(value_node).plain():  # option files around do that
                    logger.warning(
                        "%s: the key '%s' appears twice, with the same value%s", self.at(key_node), key, first
                    )
                else:
                    self.problems.append(f"{self.at(key_node)}: the key '{key}' appears twice{first}")
                continue
            lines[key] = self.at(key_node)
            if merge:
                merged = self.merged(value_node)
            else:
                own[key] = self.build(value_node, self.at(key_node))
        return {**merged, **own}

    def merged(self, node: yaml.Node) -> dict[str, Tree]:
        """Return the keys that ``<<`` adds, of one mapping or a list of them; the first mapping with a key wins."""
        values: dict[str, Tree] = {}
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(source, yaml.MappingNode):
                values = {**self.build(source).value, **values}
            else:
                self.problems.append(
                    f"{self.at(source)}: '<<' takes a mapping (an alias such as *name), or a list of them"
                )
        return values

    def key(self, node: yaml.Node) -> str | None:
        value = self.scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, str):
            return value
        text = f"'{node.value}' is read as {type(value).__name__}; add quotes" if value is not None else 'it is empty'
        self.problems.append(f'{self.at(node)}: a key must be text: {text}')
        return None

    def scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag not in _SCALARS:
            self.refuse(node)
            return None
        try:
            value = self.loader.construct_object(node)
        except (ValueError, KeyError, yaml.YAMLError):
            value = math.nan
        if not _is_usable(value):
            kind = node.tag.removeprefix(_TAG)
            self.problems.append(f'{self.at(node)}: {node.value!a} is not a valid {kind}')
            return None
        return value

    def refuse(self, node: yaml.Node) -> None:
        tag = node.tag.replace(_TAG, '!!')
        self.problems.append(
            f'{self.at(node)}: the tag {tag} is not allowed; options are text, numbers, true, false and null'
        )


def _is_usable(value: Any) -> bool:
    """Return False for values that JSON cannot carry: NaN, infinities, integers beyond 64 bits, lone surrogates."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**63
    return not isinstance(value, str) or not any('\ud800' <= character <= '\udfff' for character in value)


def as_mapping(tree: Tree) -> Mapping[str, Tree]:
    """Return the keys of a whole file.

    Raises:
        OptionError: the file is empty, or its top level is a list or a scalar.
    """
    if isinstance(tree.value, dict):
        return tree.value
    what = 'the file is empty' if tree.value is None else f'the top level is a {type(tree.value).__name__}'
    raise OptionError(f'{tree.position}: {what}; an option file is a mapping (name: ..., datasets: ...)')
