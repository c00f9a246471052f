"""Inspect an image file before it is decoded: its format, its size, and whether all of it is there."""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import TypeAlias

from basicsr.utils.errors import ImageFileError

Buffer: TypeAlias = 'bytes | mmap.mmap'
_Found: TypeAlias = tuple[tuple[int, int], int]  # (H, W), and how many bits the data are too short for them

MAX_PIXELS = 150_000_000
"""Larger images are refused: a small file may claim to be one and fill the memory."""

_MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')  # neither a stuffed 0xFF nor a restart marker
_NO_LENGTH = (0x01, *range(0xD0, 0xD9))
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN = {0xC0: 2, 0xC1: 2, 0xC2: 1}  # start of frame: bits that a block of 8x8 samples takes at least
_DEFLATE = 1032  # deflate makes nothing smaller than by this factor
_LZW = 2600  # the same of GIF
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_AVIF = (b'avif', b'avis')
_HEIC = (b'heic', b'heix', b'hevc', b'hevx', b'heim', b'heis', b'mif1', b'msf1')


@dataclass(frozen=True)
class Header:
    """What a file says of its image.

    Args:
        format: JPEG, PNG, TIFF, BMP, GIF, WEBP, AVIF or HEIC; empty for anything else.
        size: (H, W) as stored, for JPEG, PNG, BMP and GIF; None for formats whose readers check it themselves.
    """

    format: str
    size: tuple[int, int] | None = None


def read_header(data: Buffer, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Inspect a file and refuse it if it cannot be whole: decoders fill what is missing with gray and only warn.

    What follows the end of an image (padding, the video of a motion photo) is of no concern.

    Args:
        data: the whole content of the file.
        name: for messages.
        max_pixels: larger images are refused.

    Raises:
        ImageFileError: empty, cut off, larger than ``max_pixels``, or it claims a size that its data cannot fill.
    """
    if not len(data):
        raise ImageFileError(f'{name}: the file is empty (0 bytes)')
    kind = format_of(data)
    try:
        found = _SIZES[kind](data, name) if kind in _SIZES else None
    except (struct.error, IndexError) as error:
        raise _cut_off(data, name) from error
    if found is None:
        return Header(kind)
    (height, width), missing = found
    if height * width > max_pixels:
        raise too_large(name, max_pixels)
    if missing > 0:
        raise ImageFileError(f'{name}: damaged (it claims {width}×{height} pixels, more than its data can hold)')
    return Header(kind, (height, width))


def format_of(data: Buffer) -> str:
    """The format of a file by its first bytes; see :class:`Header`."""
    start = bytes(data[:12])
    for mark, kind in _MARKS.items():
        if start.startswith(mark):
            return kind
    if start[:4] == b'RIFF' and start[8:] == b'WEBP':
        return 'WEBP'
    if start[4:8] == b'ftyp':
        brands = {start[8:12], *(bytes(data[place : place + 4]) for place in range(16, _box_size(data), 4))}
        return 'AVIF' if brands & {*_AVIF} else 'HEIC' if brands & {*_HEIC} else ''
    return ''


def too_large(name: str, max_pixels: int) -> ImageFileError:
    """The error for an image of more pixels than are taken."""
    return ImageFileError(f'{name}: more than {max_pixels / 10**6:g} million pixels; scale it down or cut it')


def _cut_off(data: Buffer, name: str) -> ImageFileError:
    return ImageFileError(f'{name}: the file is cut off (its image does not end in {len(data)} bytes); copy it again')


def _png(data: Buffer, name: str) -> _Found:
    width, height, bits, colour = struct.unpack_from('>IIBB', data, 16)
    place, coded = 8, 0
    while True:
        if place + 12 > len(data):
            raise _cut_off(data, name)
        length, chunk = struct.unpack_from('>I4s', data, place)
        coded += length if chunk == b'IDAT' else 0
        place += 12 + length
        if chunk == b'IEND':
            break
    return (height, width), width * height * bits * _PNG_SAMPLES.get(colour, 1) - 8 * _DEFLATE * (coded + 1)


def _jpeg(data: Buffer, name: str) -> _Found:
    place, first_scan, frame, size = 2, 0, 0, (0, 0)
    while True:
        found = _MARKER.search(data, place)  # fill bytes and garbage are stepped over, as decoders do
        if found is None:
            raise _cut_off(data, name)
        place = found.start()
        marker = data[place + 1]
        if marker == 0xD9:
            break
        if marker in _NO_LENGTH:
            place += 2
            continue
        if marker in _FRAMES:
            frame, size = marker, struct.unpack_from('>HH', data, place + 5)
        (length,) = struct.unpack_from('>H', data, place + 2)
        place += 2 + length
        first_scan = first_scan or (place if marker == 0xDA else 0)
    height, width = size
    return (height, width), -(-height // 8) * -(-width // 8) * _HUFFMAN.get(frame, 0) - 8 * (place - first_scan)


def _bmp(data: Buffer, name: str) -> _Found | None:
    pixels, header = struct.unpack_from('<II', data, 10)
    if header < 40:
        return None
    width, height, _, bits, compression = struct.unpack_from('<iiHHI', data, 18)
    if compression in (0, 3) and pixels + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise _cut_off(data, name)
    return (abs(height), abs(width)), 0


def _gif(data: Buffer, name: str) -> _Found:
    """Up to the end of the first image; what follows it, further images or a trailer, is of no concern."""
    width, height, flags = struct.unpack_from('<HHB', data, 6)
    place = 13 + _colours_of_gif(flags)
    while data[place] != 0x2C:  # an image
        if data[place] != 0x21:  # an extension
            raise _cut_off(data, name)
        place = _behind_blocks(data, place + 2)
    columns, rows, flags = struct.unpack_from('<HHB', data, place + 5)
    start = place + 10 + _colours_of_gif(flags) + 1
    coded = _behind_blocks(data, start) - start
    return (max(height, rows), max(width, columns)), rows * columns - _LZW * coded


def _colours_of_gif(flags: int) -> int:
    """Bytes of a table of colours, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: Buffer, place: int) -> int:
    """Where a row of blocks ends, each of which says its length."""
    while data[place]:
        place += 1 + data[place]
    if place >= len(data):
        raise IndexError
    return place + 1


def _webp(data: Buffer, name: str) -> None:
    (length,) = struct.unpack_from('<I', data, 4)
    if length + 8 > len(data):
        raise _cut_off(data, name)


def _boxes(data: Buffer, name: str) -> None:
    """AVIF and HEIC: the boxes on the top must lie in the file; what follows them need not be boxes."""
    place = 0
    seen: set[bytes] = set()
    while place + 8 <= len(data) and not {b'meta', b'mdat'} <= seen:
        length, kind = struct.unpack_from('>I4s', data, place)
        if length == 1:
            (length,) = struct.unpack_from('>Q', data, place + 8)
        length = length or len(data) - place
        if length < 8 or place + length > len(data):
            raise _cut_off(data, name)
        seen.add(kind)
        place += length
    if b'meta' not in seen:
        raise _cut_off(data, name)


def _box_size(data: Buffer) -> int:
    """Bytes of the first box, as far as its brands are looked at."""
    return min(int(struct.unpack('>I', data[:4])[0]), len(data), 256)


_MARKS = {
    b'\xff\xd8\xff': 'JPEG',
    b'\x89PNG': 'PNG',
    b'II*\0': 'TIFF',
    b'MM\0*': 'TIFF',
    b'II+\0': 'TIFF',
    b'MM\0+': 'TIFF',
    b'BM': 'BMP',
    b'GIF8': 'GIF',
}
_SIZES = {'PNG': _png, 'JPEG': _jpeg, 'BMP': _bmp, 'GIF': _gif, 'WEBP': _webp, 'AVIF': _boxes, 'HEIC': _boxes}
