"""What the outside of a video file tells without a decoder: whether it is cut off, and where its parts lie."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from basicsr.utils.errors import ImageFileError

MOST_PIXELS = 8192 * 4320
"""Of a frame; more than cameras make, and a header that lies takes no memory."""

_TOP_BOXES = {
    b'ftyp',
    b'moov',
    b'mdat',
    b'moof',
    b'free',
    b'skip',
    b'wide',
    b'uuid',
    b'meta',
    b'sidx',
    b'styp',
    b'mfra',
}
_EBML, _SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'
_PACK, _END = b'\0\0\1\xba', 0xB9
_TAIL = 2**20  # bytes at the end of an MPEG file, in which there are many packs
_ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
_ASF_FILE = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')


@dataclass(frozen=True)
class Box:
    """A box of an MP4 or MOV file.

    Args:
        kind: its four letters.
        start: where its content begins.
        end: where it ends, by what it says.
    """

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places of an MP4 or MOV file (ISO/IEC 14496-12, section 4.2), up to one that is none."""
    while end - start >= 8:
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, kind = struct.unpack('>I4s', head[:8])
        content = start + 8
        if size == 1 and len(head) == 16:
            size, content = struct.unpack('>Q', head[8:])[0], start + 16
        elif size == 0:
            size = end - start
        if size < content - start:
            return
        yield Box(kind, content, start + size)
        start += size


def inner_boxes(file: BinaryIO, box: Box, *kinds: bytes) -> list[Box]:
    """The boxes that lie along a path below another one."""
    found = [box]
    for kind in kinds:
        found = [inner for outer in found for inner in boxes(file, outer.start, outer.end) if inner.kind == kind]
    return found


def handler(file: BinaryIO, track: Box) -> bytes:
    """What a track of an MP4 or MOV file holds: ``vide``, ``soun``, ..."""
    return next((content(file, box)[8:12] for box in inner_boxes(file, track, b'mdia', b'hdlr')), b'')


def content(file: BinaryIO, box: Box, most: int = 2**20) -> bytes:
    """The content of a box, or the beginning of it."""
    file.seek(box.start)
    return file.read(min(box.end - box.start, most))


def require_whole(path: Path) -> None:
    """Make sure that a video file is as long as it says, whatever its extension.

    MP4 and MOV, Matroska and WebM, AVI and WMV tell their length, MPEG where a packet ends; of other files nothing is
    known here.

    Args:
        path: the file.

    Raises:
        ImageFileError: missing, empty, cut off, or its header promises what the file cannot hold.
    """
    if not path.is_file():
        raise ImageFileError(f'{path}: no such file')
    size = path.stat().st_size
    if not size:
        raise ImageFileError(f'{path}: the file is empty (0 bytes)')
    with path.open('rb') as file:
        told = _length(file, size)
        if told is not None and told > size:
            raise ImageFileError(
                f'{path}: cut off: it should have {told} bytes and has {size}; copy or download it again'
            )
        if is_mp4(path):
            _check_samples(path, file, size)
        for width, height in _sizes(file, size):
            require_size(path, width, height)


def require_size(path: Path, width: int, height: int) -> None:
    """Refuse frames that are larger than any camera makes them.

    Raises:
        ImageFileError: more than 8192×4320 pixels.
    """
    if width * height > MOST_PIXELS:
        raise ImageFileError(f'{path}: {width}×{height} pixels are too many; 8192×4320 are the most')


def is_mp4(path: Path) -> bool:
    """Whether a file begins as MP4 and MOV files do."""
    with path.open('rb') as file:
        return file.read(8)[4:] in _TOP_BOXES


def _length(file: BinaryIO, size: int) -> int | None:
    """The bytes that a file should have; None if it does not say."""
    file.seek(0)
    head = file.read(64)
    if head[4:8] in _TOP_BOXES:
        return _length_of_boxes(file, size)
    if head[:4] == _EBML:
        return _length_of_matroska(file)
    if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
        stated = struct.unpack('<I', head[4:8])[0]
        return None if stated == 0 or stated >= 0xFFFFFFF0 else stated + 8 - stated % 2  # recorders that crashed
    if head[:16] == _ASF_HEADER:
        return _length_of_asf(file)
    if head[:4] == _PACK:
        return _length_of_mpeg(file, size)
    return None


def _length_of_boxes(file: BinaryIO, size: int) -> int:
    end = 0
    for box in boxes(file, 0, size):
        if box.kind not in _TOP_BOXES:  # something appended by a camera
            break
        end = box.end
    return end


def _length_of_matroska(file: BinaryIO) -> int | None:
    return next((end for kind, _, end in _elements(file, 0, None) if kind == _SEGMENT), None)


def _elements(file: BinaryIO, start: int, end: int | None) -> Iterator[tuple[bytes, int, int | None]]:
    """The EBML elements from a place on (RFC 8794, section 4): identifier, where the content begins, and where it ends.

    The end is None where an element does not say it; nothing is known of what comes after.
    """
    place: int | None = start
    while place is not None and (end is None or place < end):
        file.seek(place)
        head = file.read(12)
        if not head or not head[0]:
            return
        wide = 9 - head[0].bit_length()
        if wide > 4 or len(head) <= wide or not head[wide]:
            return
        more = 9 - head[wide].bit_length()
        length = int.from_bytes(head[wide : wide + more], 'big') - (1 << (7 * more))
        content = place + wide + more
        place = None if length == (1 << (7 * more)) - 1 else content + length
        yield head[:wide], content, place


def _length_of_asf(file: BinaryIO) -> int | None:
    file.seek(24)
    count = int.from_bytes(file.read(4), 'little')
    place = 30
    for _ in range(min(count, 1000)):
        file.seek(place)
        head = file.read(48)
        if len(head) < 48:
            return None
        if head[:16] == _ASF_FILE:
            return int.from_bytes(head[40:48], 'little') or None
        place += max(int.from_bytes(head[16:24], 'little'), 24)
    return None


def _length_of_mpeg(file: BinaryIO, size: int) -> int | None:
    """Where the last packet of an MPEG program stream ends (ISO/IEC 13818-1, section 2.5)."""
    start = max(0, size - _TAIL)
    file.seek(start)
    tail = file.read()
    at = tail.find(_PACK)
    while at >= 0:
        place: int | None = at
        end = at
        while place is not None and len(tail) - place >= 14:
            place = _after(tail, place)
            end = end if place is None else place
        if place is not None:
            return start + end
        at = tail.find(_PACK, at + 4)  # it was no pack, but a part of one
    return None


def _after(data: bytes, place: int) -> int | None:
    """Where the packet ends that begins at a place; None if none does."""
    if data[place : place + 3] != _PACK[:3]:
        return None
    kind = data[place + 3]
    if kind == _PACK[3]:
        return place + (14 + data[place + 13] % 8 if data[place + 4] >> 6 == 1 else 12)
    if kind == _END:
        return place + 4
    return place + 6 + int.from_bytes(data[place + 4 : place + 6], 'big') if kind > _PACK[3] else None


def _check_samples(path: Path, file: BinaryIO, size: int) -> None:
    """Refuse a sample table with more samples than the file has room for: a reader would make room for them."""
    for moov in (box for box in boxes(file, 0, size) if box.kind == b'moov'):
        for table in inner_boxes(file, moov, b'trak', b'mdia', b'minf', b'stbl', b'stsz'):
            head = content(file, table, 12)
            if len(head) < 12:
                continue
            each, count = struct.unpack('>4xII', head)
            room = size // each if each else (min(table.end, size) - table.start - 12) // 4
            if count > room:
                raise ImageFileError(
                    f'{path}: damaged: its header tells of {count} samples, and there is room for {room}'
                )


def _sizes(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Width and height of all pictures, as the header tells them."""
    file.seek(0)
    head = file.read(2**16)
    if head[4:8] in _TOP_BOXES:
        for moov in (box for box in boxes(file, 0, size) if box.kind == b'moov'):
            for track in inner_boxes(file, moov, b'trak'):
                if handler(file, track) == b'vide':
                    for entries in inner_boxes(file, track, b'mdia', b'minf', b'stbl', b'stsd'):
                        for entry in boxes(file, entries.start + 8, entries.end):
                            yield struct.unpack('>2H', content(file, entry, 28)[24:].ljust(4, b'\0'))
    elif head[:4] == _EBML:
        yield from _sizes_of_matroska(file)
    elif head[:4] == b'RIFF':
        start = head.find(b'vids')
        form = head.find(b'strf', start)
        if min(start, form) >= 0 and form + 20 <= len(head):
            width, height = struct.unpack('<2i', head[form + 12 : form + 20])
            yield abs(width), abs(height)


def _sizes_of_matroska(file: BinaryIO) -> Iterator[tuple[int, int]]:
    for path in _below(file, (0, None), [_SEGMENT, b'\x16\x54\xae\x6b', b'\xae', b'\xe0']):
        sides = {kind: (start, end) for kind, start, end in _elements(file, *path)}
        found = []
        for name in (b'\xb0', b'\xba'):
            start, end = sides.get(name, (0, 0))
            file.seek(start)
            found.append(int.from_bytes(file.read(min(8, (end or start) - start)), 'big'))
        yield found[0], found[1]


def _below(file: BinaryIO, place: tuple[int, int | None], names: list[bytes]) -> Iterator[tuple[int, int | None]]:
    """The places of EBML elements along a path of identifiers."""
    if not names:
        yield place
        return
    for kind, start, end in _elements(file, *place):
        if kind == names[0]:
            yield from _below(file, (start, end), names[1:])
