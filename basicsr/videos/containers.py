"""Check the containers of video files without a decoder: whether they are complete, and the size of frames."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basicsr.images.boxes import Box, boxes, boxes_at
from basicsr.utils.errors import ImageFileError

MAX_FRAME_PIXELS = 8192 * 4320
"""Maximum number of pixels of a frame."""

_TOP_BOXES = frozenset(b'ftyp moov mdat moof free skip wide uuid meta sidx styp mfra'.split())
_EBML, _SEGMENT = b'\x1a\x45\xdf\xa3', b'\x18\x53\x80\x67'
_TRACKS, _TRACK, _VIDEO = b'\x16\x54\xae\x6b', b'\xae', b'\xe0'
_PACK, _END = b'\0\0\1\xba', 0xB9
_TAIL = 2**20  # bytes at the end of an MPEG file, which contain many packs
_ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
_ASF_FILE = bytes.fromhex('a1dcab8c47a9cf118ee400c00c205365')


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map the content of a file that is not empty."""
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def video_tracks(data: mmap.mmap) -> list[Box]:
    """Return the video tracks of an MP4 or MOV file."""
    return [
        track
        for track in boxes_at(data, None, b'moov', b'trak')
        for handler in boxes_at(data, track, b'mdia', b'hdlr')
        if data[handler.start + 8 : handler.start + 12] == b'vide'
    ]


def require_whole(path: Path) -> None:
    """Check that a video file is as long as its container states.

    MP4, MOV, Matroska, WebM, AVI and WMV state their length, MPEG the length of its packets; other files are accepted.

    Args:
        path: the file; its content decides, not its extension.

    Raises:
        ImageFileError: missing, empty, cut off, or its header claims more than the file can hold.
    """
    if not path.is_file():
        raise ImageFileError(f'{path}: no such file')
    if not path.stat().st_size:
        raise ImageFileError(f'{path}: the file is empty (0 bytes)')
    with mapped(path) as data:
        stated = _length(data)
        if stated is not None and stated > len(data):
            raise ImageFileError(f'{path}: cut off: {len(data)} of {stated} bytes; copy or download it again')
        if is_mp4(data):
            _check_samples(path, data)
        for width, height in _sizes(data):
            require_frame_size(path, width, height)


def require_frame_size(path: Path, width: int, height: int) -> None:
    """Check the size of frames.

    Raises:
        ImageFileError: more than 8192×4320 pixels.
    """
    if width * height > MAX_FRAME_PIXELS:
        raise ImageFileError(f'{path}: {width}×{height} pixels are too many; the maximum is 8192×4320')


def is_mp4(data: mmap.mmap) -> bool:
    """Whether a file begins like an MP4 or MOV file."""
    return data[4:8] in _TOP_BOXES


def _length(data: mmap.mmap) -> int | None:
    """Return the number of bytes that a file should have; None if it is unknown."""
    if is_mp4(data):
        end = 0
        for box in boxes(data, 0, len(data)):
            if box.kind not in _TOP_BOXES:  # data that a camera has appended
                break
            end = box.end
        return end
    if data[:4] == _EBML:
        return next((end for kind, _, end in _elements(data, 0, None) if kind == _SEGMENT), None)
    if data[:4] == b'RIFF' and data[8:12] == b'AVI ':
        stated: int = struct.unpack_from('<I', data, 4)[0]
        return None if stated == 0 or stated >= 0xFFFFFFF0 else stated + 8 - stated % 2  # recorders that crashed
    if data[:16] == _ASF_HEADER:
        return _length_of_asf(data)
    return _length_of_mpeg(data) if data[:4] == _PACK else None


def _elements(data: mmap.mmap, start: int, end: int | None) -> Iterator[tuple[bytes, int, int | None]]:
    """Yield the EBML elements from an offset on (RFC 8794, section 4): identifier, start and end of the content.

    The end is None if an element does not state it; it is then the last one.
    """
    place: int | None = start
    while place is not None and (end is None or place < end):
        head = data[place : place + 12]
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


def _length_of_asf(data: mmap.mmap) -> int | None:
    place = 30
    for _ in range(min(int.from_bytes(data[24:28], 'little'), 1000)):
        head = data[place : place + 48]
        if head[:16] == _ASF_FILE and len(head) == 48:
            return int.from_bytes(head[40:48], 'little') or None
        place += max(int.from_bytes(head[16:24], 'little'), 24)
    return None


def _length_of_mpeg(data: mmap.mmap) -> int | None:
    """Return the end of the last packet of an MPEG program stream (ISO/IEC 13818-1, section 2.5)."""
    start = data.find(_PACK, max(0, len(data) - _TAIL))
    while start >= 0:
        place: int | None = start
        end = start
        while place is not None and len(data) - place >= 14:
            place = _after_packet(data, place)
            end = end if place is None else place
        if place is not None:
            return end
        start = data.find(_PACK, start + 4)  # these bytes were inside a packet
    return None


def _after_packet(data: mmap.mmap, place: int) -> int | None:
    """Return the end of the packet that begins at an offset; None without one."""
    if data[place : place + 3] != _PACK[:3]:
        return None
    kind = data[place + 3]
    if kind == _PACK[3]:
        return place + (14 + data[place + 13] % 8 if data[place + 4] >> 6 == 1 else 12)
    if kind == _END:
        return place + 4
    return place + 6 + int.from_bytes(data[place + 4 : place + 6], 'big') if kind > _PACK[3] else None


def _check_samples(path: Path, data: mmap.mmap) -> None:
    """Refuse a sample table with more samples than the file can hold: a reader would allocate memory for them."""
    for table in boxes_at(data, None, b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stsz'):
        if len(data) - table.start < 12:
            continue
        each, count = struct.unpack_from('>4xII', data, table.start)
        room = len(data) // each if each else (min(table.end, len(data)) - table.start - 12) // 4
        if count > room:
            raise ImageFileError(f'{path}: damaged: its header states {count} samples, and there is room for {room}')


def _sizes(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield width and height of all video streams, as the header states them."""
    if is_mp4(data):
        for track in video_tracks(data):
            for entries in boxes_at(data, track, b'mdia', b'minf', b'stbl', b'stsd'):
                for entry in boxes(data, entries.start + 8, entries.end):
                    yield struct.unpack('>2H', data[entry.start + 24 : entry.start + 28].ljust(4, b'\0'))
    elif data[:4] == _EBML:
        for video in _elements_at(data, (0, None), [_SEGMENT, _TRACKS, _TRACK, _VIDEO]):
            sides = {
                kind: int.from_bytes(data[at : min(end or at, at + 8)], 'big')
                for kind, at, end in _elements(data, *video)
            }
            yield sides.get(b'\xb0', 0), sides.get(b'\xba', 0)
    elif data[:4] == b'RIFF':
        head = data[: 2**16]
        start = head.find(b'vids')
        form = head.find(b'strf', start)
        if min(start, form) >= 0 and form + 20 <= len(head):
            width, height = struct.unpack_from('<2i', head, form + 12)
            yield abs(width), abs(height)


def _elements_at(
    data: mmap.mmap, place: tuple[int, int | None], names: list[bytes]
) -> Iterator[tuple[int, int | None]]:
    """Yield start and end of the EBML elements at a path of identifiers."""
    if not names:
        yield place
        return
    for kind, start, end in _elements(data, *place):
        if kind == names[0]:
            yield from _elements_at(data, (start, end), names[1:])
