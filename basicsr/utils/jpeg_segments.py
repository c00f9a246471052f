"""Carry segments of a JPEG file over that Pillow does not write: IPTC, extended XMP, comments."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from basicsr.utils.xmp import speaks_of_other_data

_IPTC, _EXTENDED_XMP = b'Photoshop 3.0\0', b'http://ns.adobe.com/xmp/extension/\0'
_GAIN_MAP = b'urn:iso:std:iso:ts:21496:-1\0'
_EXTENSION_HEADER = len(_EXTENDED_XMP) + 40  # GUID, whole length, offset
_APP1, _APP2, _APP13, _COMMENT = 0xE1, 0xE2, 0xED, 0xFE


def kept_segments(data: bytes) -> tuple[bytes, bool, tuple[str, ...]]:
    """The segments of a file that stay true of its image when the pixels change, as they are in the file.

    Args:
        data: of a JPEG file that is whole.

    Returns:
        the segments; whether its extended XMP is among them; what is left out, in words.
    """
    segments = list(_segments(data))
    notes: tuple[str, ...] = ()
    if any(marker == _APP2 and content.startswith(_GAIN_MAP) for marker, content in segments):
        notes = ('its HDR part (gain map) is left out',)
    parts = [content for marker, content in segments if marker == _APP1 and content.startswith(_EXTENDED_XMP)]
    extended = bool(parts) and not speaks_of_other_data(_joined(parts))
    kept = [
        (marker, content)
        for marker, content in segments
        if (marker == _APP13 and content.startswith(_IPTC))
        or (extended and marker == _APP1 and content.startswith(_EXTENDED_XMP))
    ]
    comments = [(marker, content) for marker, content in segments if marker == _COMMENT]
    kept += comments[:-1]  # Pillow keeps the last
    return b''.join(_segment(marker, content) for marker, content in kept), extended, notes


def with_segments(data: bytes, segments: bytes) -> bytes:
    """A JPEG file with further segments behind those that it begins with (JFIF, EXIF, XMP)."""
    if not segments:
        return data
    place = 2
    while data[place] == 0xFF and data[place + 1] in range(0xE0, 0xF0):
        place += 2 + int(struct.unpack_from('>H', data, place + 2)[0])
    return data[:place] + segments + data[place:]


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of the segments before the first scan."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF or data[place + 1] == 0xFF:
            place += 1
            continue
        marker = data[place + 1]
        if marker in (0xDA, 0xD9):
            return
        (length,) = struct.unpack_from('>H', data, place + 2)
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack('>BBH', 0xFF, marker, len(content) + 2) + content


def _joined(parts: list[bytes]) -> bytes:
    """The extended XMP, whose parts say where they belong."""
    placed = sorted((struct.unpack_from('>I', part, _EXTENSION_HEADER - 4)[0], part) for part in parts)
    return b''.join(part[_EXTENSION_HEADER:] for _, part in placed)
