"""Check the pages of an LMDB before the library maps it: the library trusts them, and a damaged one ends the process.

The layout is that of LMDB 0.9 on 64-bit processors with little-endian numbers (``mdb.c``: ``MDB_page``, ``MDB_meta``,
``MDB_db`` and ``MDB_node``).
"""

from __future__ import annotations

import struct
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import DataError

_MAGIC = 0xBEEFC0DE
_HEADER, _NODE = 16, 8  # bytes at the start of a page and of a node
_BRANCH, _LEAF = 0x01, 0x02  # kinds of pages
_ON_OWN_PAGES = 0x01  # flag of a node whose value has pages of its own
_NO_ROOT = 2**64 - 1
_FIXED = 0x01  # flag of a database that must be mapped at an address
_META = struct.Struct('<16xIIQQ')  # a page with the state of the database: magic number, version, address, size
_TREE = struct.Struct('<IHHQQQQQ')
_END = struct.Struct('<QQ')
_META_SIZE = _META.size + 2 * _TREE.size + _END.size


@dataclass(frozen=True)
class _Tree:
    page_size: int  # of the first tree only
    flags: int
    depth: int
    branches: int
    leaves: int
    of_values: int  # pages
    entries: int
    root: int


@dataclass(frozen=True)
class _State:
    address: int
    map_size: int
    free: _Tree
    main: _Tree
    pages: int
    transaction: int


def check_pages(path: Path) -> None:
    """Check that every page and value that a lookup may reach is in the file.

    Values are not read: only the pages with the keys are, one of about a hundred keys.

    Args:
        path: ``data.mdb``. A file that is no LMDB at all is left to the library.

    Raises:
        DataError: the file is damaged or cut off.
        OSError: it cannot be read.
    """
    if sys.byteorder != 'little' or sys.maxsize < 2**32 or path.stat().st_size < 2 * _META_SIZE:
        return
    data = np.memmap(path, np.uint8, mode='r').view(np.ndarray)
    states = [_state(data, 0)]
    if states[0] is None:
        return
    states.append(_state(data, states[0].free.page_size))
    number, state = max(
        ((number, one) for number, one in enumerate(states) if one is not None), key=lambda one: one[1].transaction
    )
    try:
        _check_state(data, state, number)
        seen = set[int]()
        for tree in (state.free, state.main):
            _check_tree(data, state, tree, seen)
    except ValueError as error:
        raise DataError(f'{path}: {error}; copy it or recreate the LMDB') from error


def _state(data: NDArray[np.uint8], place: int) -> _State | None:
    if place + _META_SIZE > len(data):
        return None
    content = data[place : place + _META_SIZE].tobytes()
    magic, _, address, map_size = _META.unpack_from(content)
    if magic != _MAGIC:
        return None
    free, main = (_Tree(*_TREE.unpack_from(content, _META.size + number * _TREE.size)) for number in (0, 1))
    last, transaction = _END.unpack_from(content, _META_SIZE - _END.size)
    return _State(address, map_size, free, main, last + 1, transaction)


def _check_state(data: NDArray[np.uint8], state: _State, number: int) -> None:
    size = state.free.page_size
    sizes = {2**power for power in range(9, 17)}
    wrong = size not in sizes or state.main.flags or (state.address and not state.free.flags & _FIXED)
    if wrong or (state.transaction and state.transaction % 2 != number):  # they are written in turn
        raise ValueError('damaged, its first page makes no sense')
    if len(data) < state.pages * size:  # reading beyond the end of a mapped file ends the process
        raise ValueError(f'cut off, it has {len(data)} of {state.pages * size} bytes')
    if state.map_size < state.pages * size:
        raise ValueError(f'damaged, {state.pages * size} bytes are more than its limit of {state.map_size}')


def _check_tree(data: NDArray[np.uint8], state: _State, tree: _Tree, seen: set[int]) -> None:
    size, counts = state.free.page_size, Counter[str]()
    waiting = [] if tree.root == _NO_ROOT and not tree.depth else [(tree.root, 1)]
    while waiting:
        number, depth = waiting.pop()
        if number in seen or not 2 <= number < state.pages:
            raise ValueError(f'damaged, a page refers to page {number}')
        seen.add(number)
        below, found = _check_page(data[number * size : (number + 1) * size], number, depth == tree.depth, state)
        if depth > tree.depth:
            raise ValueError(f'damaged, page {number} makes no sense')
        counts += found
        waiting += [(int(page), depth + 1) for page in below]
    other = any(counts[name] != getattr(tree, name) for name in ('branches', 'leaves', 'entries'))
    least, most = counts['of_values'], state.pages if counts['of_values'] else 0  # a value that shrinks keeps its pages
    if other or not least <= tree.of_values <= most:
        raise ValueError('damaged, its pages and keys are not as many as its first page says')


def _check_page(
    page: NDArray[np.uint8], number: int, is_leaf: bool, state: _State
) -> tuple[Sequence[int], Counter[str]]:
    """Return the pages below a page of a tree, and what it adds to the counts of the tree."""
    own, _, kind, lower, upper = struct.unpack('<QHHHH', page[:16].tobytes())
    size, words = len(page), page.view('<u2').astype(np.int64)
    count = (lower - _HEADER) // 2
    wrong = own != number or kind != (_LEAF if is_leaf else _BRANCH) or lower % 2
    if wrong or not _HEADER <= lower <= upper <= size or count < (1 if is_leaf else 2):
        raise ValueError(f'damaged, page {number} makes no sense')
    nodes = words[_HEADER // 2 : _HEADER // 2 + count]
    if (nodes % 2).any() or nodes.min() < upper or nodes.max() > size - _NODE:
        raise ValueError(f'damaged, keys of page {number} are outside of it')
    low, high, flags, key = (words[nodes // 2 + place] for place in range(4))
    amount = low + (high << 16)  # bytes of the value; in a branch, with the flags, the number of a page
    on_own_pages = is_leaf & (flags == _ON_OWN_PAGES)
    inside = np.where(on_own_pages, 8, amount) if is_leaf else 0
    if (nodes + _NODE + key + inside > size).any() or (is_leaf and (flags & ~_ON_OWN_PAGES).any()):
        raise ValueError(f'damaged, values of page {number} are outside of it')
    if not is_leaf:
        return (amount + (flags << 32)).tolist(), Counter(branches=1)
    for node, length, bytes_of_key in zip(nodes[on_own_pages], amount[on_own_pages], key[on_own_pages], strict=True):
        start = int(node + _NODE + bytes_of_key)
        (first,) = struct.unpack('<Q', page[start : start + 8].tobytes())
        if not 2 <= first <= state.pages - -(-(int(length) + _HEADER) // size):
            raise ValueError(f'damaged, a value of page {number} is outside of the file')
    of_values = int((-(-(amount[on_own_pages] + _HEADER) // size)).sum())
    return (), Counter(leaves=1, of_values=of_values, entries=count)
