"""Check the pages of an LMDB before the library maps it: the library trusts them, and a damaged one ends the process.

The layout is that of LMDB 0.9 on 64-bit processors with little-endian numbers (``mdb.c``: ``MDB_page``, ``MDB_meta``,
``MDB_db`` and ``MDB_node``).
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import DataError

_MAGIC = 0xBEEFC0DE
_HEADER, _NODE = 16, 8  # bytes at the start of a page and of a node
_BRANCH, _LEAF = 0x01, 0x02  # kinds of pages
_ON_OWN_PAGES = 0x01  # flag of a node whose value has pages of its own
_NO_ROOT = 2**64 - 1
_META = struct.Struct('<8xHHxxxxIIQQ I44x 4xHH8x8x8x8xQ QQ')  # a page with the state of the database


@dataclass(frozen=True)
class _State:
    page_size: int
    flags: int
    depth: int
    root: int
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
    if sys.byteorder != 'little' or sys.maxsize < 2**32 or path.stat().st_size < 2 * _META.size:
        return
    data = np.memmap(path, np.uint8, mode='r').view(np.ndarray)
    states = [_state(data, 0)]
    if states[0] is None:
        return
    states.append(_state(data, states[0].page_size))
    state = max((one for one in states if one is not None), key=lambda one: one.transaction)
    try:
        _check_tree(data, state)
    except ValueError as error:
        raise DataError(f'{path}: {error}; copy it or recreate the LMDB') from error


def _state(data: NDArray[np.uint8], place: int) -> _State | None:
    if place + _META.size > len(data):
        return None
    _, _, magic, _, _, _, page_size, flags, depth, root, last, transaction = _META.unpack(
        data[place : place + _META.size].tobytes()
    )
    if magic != _MAGIC:
        return None
    return _State(page_size, flags, depth, root, last + 1, transaction)


def _check_tree(data: NDArray[np.uint8], state: _State) -> None:
    size = state.page_size
    if size not in {2**power for power in range(9, 17)} or state.flags:
        raise ValueError('damaged, its first page makes no sense')
    if len(data) < state.pages * size:  # reading beyond the end of a mapped file ends the process
        raise ValueError(f'cut off, it has {len(data)} of {state.pages * size} bytes')
    waiting = [] if state.root == _NO_ROOT else [(state.root, 1)]
    seen = set()
    while waiting:
        number, depth = waiting.pop()
        if number in seen or not 2 <= number < state.pages:
            raise ValueError(f'damaged, a page refers to page {number}')
        seen.add(number)
        below = _check_page(data[number * size : (number + 1) * size], number, depth, state)
        waiting += [(int(page), depth + 1) for page in below]


def _check_page(page: NDArray[np.uint8], number: int, depth: int, state: _State) -> Any:
    """Return the pages below a page of the tree."""
    own, _, kind, lower, upper = struct.unpack('<QHHHH', page[:16].tobytes())
    size, words = len(page), page.view('<u2').astype(np.int64)
    count = (lower - _HEADER) // 2
    is_leaf = depth == state.depth
    wrong = own != number or kind != (_LEAF if is_leaf else _BRANCH) or lower % 2
    if wrong or not _HEADER <= lower <= upper <= size or count < (1 if is_leaf else 2) or depth > state.depth:
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
        return amount + (flags << 32)
    for node, length, bytes_of_key in zip(nodes[on_own_pages], amount[on_own_pages], key[on_own_pages], strict=True):
        start = int(node + _NODE + bytes_of_key)
        (first,) = struct.unpack('<Q', page[start : start + 8].tobytes())
        if not 2 <= first <= state.pages - -(-(int(length) + _HEADER) // size):
            raise ValueError(f'damaged, a value of page {number} is outside of the file')
    return ()
