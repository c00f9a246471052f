"""Find the boxes of MP4, MOV, AVIF and HEIC files (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = 'bytes | mmap.mmap'


class Box(NamedTuple):
    """A box: its type, and start and end of its content as it states them."""

    kind: bytes
    start: int
    end: int


def boxes(data: Buffer, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two offsets, up to the first invalid one."""
    end = min(end, len(data))
    while end - start >= 8:
        size, kind = struct.unpack_from('>I4s', data, start)
        content = start + 8
        if size == 1 and end - start >= 16:
            size, content = struct.unpack_from('>Q', data, content)[0], start + 16
        elif size == 0:
            size = end - start
        if size < content - start:
            return
        yield Box(kind, content, start + size)
        start += size


def boxes_at(data: Buffer, box: Box | None, *kinds: bytes) -> list[Box]:
    """Return the boxes at a path of types, below a box or (None) in the file."""
    found = [box or Box(b'', 0, len(data))]
    for kind in kinds:
        found = [inner for outer in found for inner in boxes(data, outer.start, outer.end) if inner.kind == kind]
    return found
