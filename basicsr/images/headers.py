"""Check an image file before it is decoded: its format, its size, and whether it is complete."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from basicsr.images.boxes import Buffer, boxes
from basicsr.utils.errors import ImageFileError

_Found: TypeAlias = tuple[tuple[int, int], int]  # (H, W), and the number of bits that the data lack at least

MAX_PIXELS = 150_000_000
"""Larger images are refused: a small file may claim to be one and fill the memory."""

_MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')  # neither a stuffed 0xFF nor a restart marker
_WITHOUT_LENGTH = (0x01, 0xD8, 0xD9)
_END, _SCAN = 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN = {0xC0: 2, 0xC1: 2, 0xC2: 1}  # start of frame: fewest bits of a block of 8x8 samples
_DEFLATE = 1032  # its highest compression ratio
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_HEIC = {b'heic', b'heix', b'hevc', b'hevx', b'heim', b'heis', b'mif1', b'msf1'}
_GIF_EXTENSION = 0x21
_MARKS = {
    b'\xff\xd8\xff': 'JPEG',
    b'\x89PNG': 'PNG',
    **dict.fromkeys((b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'), 'TIFF'),
    b'BM': 'BMP',
    b'GIF8': 'GIF',
}


@dataclass(frozen=True)
class Header:
    """Format and size of an image file.

    Args:
        format: JPEG, PNG, TIFF, BMP, GIF, WEBP, AVIF or HEIC; empty for any other file.
        size: (H, W) as stored, for JPEG, PNG, BMP and GIF; None for formats whose readers check it.
    """

    format: str
    size: tuple[int, int] | None = None


def read_header(data: Buffer, name: str, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of an image file, and refuse a file that is not complete.

    Decoders fill missing data with gray and only warn. Data after the image (padding, the video of a motion photo) are
    ignored.

    Args:
        data: content of the file.
        name: for error messages.
        max_pixels: maximum number of pixels.

    Raises:
        ImageFileError: empty, cut off, more than ``max_pixels``, or a size that exceeds the data.
    """
    if not len(data):
        raise ImageFileError(f'{name}: the file is empty (0 bytes)')
    kind = format_of(data)
    try:
        found = _CHECKS[kind](data, name) if kind in _CHECKS else None
    except (struct.error, IndexError) as error:
        raise _cut_off(data, name) from error
    if found is None:
        return Header(kind)
    (height, width), missing = found
    if height * width > max_pixels:
        raise too_many_pixels(name, max_pixels)
    if missing > 0:
        raise ImageFileError(f'{name}: damaged (it claims {width}×{height} pixels, more than its data can hold)')
    return Header(kind, (height, width))


def format_of(data: Buffer) -> str:
    """Return the format of a file by its first bytes; see :class:`Header`."""
    start = bytes(data[:12])
    if start[:4] == b'RIFF' and start[8:] == b'WEBP':
        return 'WEBP'
    if start[4:8] == b'ftyp':
        end = min(int(struct.unpack('>I', start[:4])[0]), len(data), 256)
        brands = {start[8:], *(bytes(data[place : place + 4]) for place in range(16, end, 4))}
        return 'AVIF' if brands & {b'avif', b'avis'} else 'HEIC' if brands & _HEIC else ''
    return next((kind for mark, kind in _MARKS.items() if start.startswith(mark)), '')


def too_many_pixels(name: str, max_pixels: int) -> ImageFileError:
    """Return the error for an image with more than ``max_pixels``."""
    return ImageFileError(f'{name}: more than {max_pixels / 10**6:g} million pixels; scale it down or crop it')


def png_chunks(data: Buffer) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of the content of each chunk of a PNG, up to ``IEND``."""
    place, name = 8, b''
    while name != b'IEND' and place + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, place)
        yield name, place + 8, place + 8 + length
        place += 12 + length


def jpeg_segments(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each segment of a JPEG, up to its end marker.

    Fill bytes, scans and garbage between segments are skipped, as decoders do.

    Raises:
        struct.error: a segment is cut off.
    """
    place = 2
    while found := _MARKER.search(data, place):
        place, marker = found.end(), data[found.end() - 1]
        end = place if marker in _WITHOUT_LENGTH else place + struct.unpack_from('>H', data, place)[0]
        yield marker, min(place + 2, end), end
        if marker == _END:
            return
        place = end


def _cut_off(data: Buffer, name: str) -> ImageFileError:
    return ImageFileError(f'{name}: the file is cut off (its image does not end in {len(data)} bytes); copy it again')


def _png(data: Buffer, name: str) -> _Found:
    width, height, bits, colour = struct.unpack_from('>IIBB', data, 16)
    chunk, coded, end = b'', 0, 0
    for chunk, start, end in png_chunks(data):
        coded += end - start if chunk == b'IDAT' else 0
    if chunk != b'IEND' or end + 4 > len(data):
        raise _cut_off(data, name)
    return (height, width), width * height * bits * _PNG_SAMPLES.get(colour, 1) - 8 * _DEFLATE * (coded + 1)


def _jpeg(data: Buffer, name: str) -> _Found:
    marker = first_scan = end = frame = height = width = 0
    for marker, start, end in jpeg_segments(data):
        if marker in _FRAMES:
            frame, (height, width) = marker, struct.unpack_from('>HH', data, start + 1)
        elif marker == _SCAN:
            first_scan = first_scan or end
    if marker != _END:
        raise _cut_off(data, name)
    return (height, width), -(-height // 8) * -(-width // 8) * _HUFFMAN.get(frame, 0) - 8 * (end - 2 - first_scan)


def _bmp(data: Buffer, name: str) -> _Found | None:
    pixels, header = struct.unpack_from('<II', data, 10)
    if header < 40:
        return None
    width, height, _, bits, compression = struct.unpack_from('<iiHHI', data, 18)
    if compression in (0, 3) and pixels + (width * bits + 31) // 32 * 4 * abs(height) > len(data):
        raise _cut_off(data, name)
    return (abs(height), abs(width)), 0


def _gif(data: Buffer, name: str) -> _Found:
    """Follow the blocks to the end of the first image; 12 bits of LZW code at most 4096 pixels."""
    size = struct.unpack_from('<HH', data, 6)
    place = 13 + _colour_table(data[10])
    while data[place] == _GIF_EXTENSION:
        place = _end_of_blocks(data, place + 2)
    left, top, width, height, flags = struct.unpack_from('<HHHHB', data, place + 1)
    start = place + 11 + _colour_table(flags)
    missing = width * height * 12 - 4096 * 8 * (_end_of_blocks(data, start) - start)
    return (max(size[1], top + height), max(size[0], left + width)), missing


def _colour_table(flags: int) -> int:
    """Return the bytes of the colour table of a GIF."""
    return 6 << (flags & 7) if flags & 0x80 else 0


def _end_of_blocks(data: Buffer, place: int) -> int:
    while length := data[place]:
        place += 1 + length
    return place + 1


def _webp(data: Buffer, name: str) -> None:
    if struct.unpack_from('<I', data, 4)[0] + 8 > len(data):
        raise _cut_off(data, name)


def _boxes(data: Buffer, name: str) -> None:
    """Check that the boxes ``meta`` and ``mdat`` of an AVIF or HEIC file are complete."""
    seen: set[bytes] = set()
    for box in boxes(data, 0, len(data)):
        if box.end > len(data):
            raise _cut_off(data, name)
        seen.add(box.kind)
        if {b'meta', b'mdat'} <= seen:
            return
    if b'meta' not in seen:
        raise _cut_off(data, name)


_CHECKS = {'PNG': _png, 'JPEG': _jpeg, 'BMP': _bmp, 'GIF': _gif, 'WEBP': _webp, 'AVIF': _boxes, 'HEIC': _boxes}
