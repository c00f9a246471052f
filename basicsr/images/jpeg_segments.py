"""Copy the segments of a JPEG file that Pillow does not write: IPTC, extended XMP, comments."""

from __future__ import annotations

import struct
from itertools import takewhile

from basicsr.images.headers import jpeg_segments
from basicsr.images.xmp import GAIN_MAP_NOTE, clean_xmp

_IPTC, _EXTENDED_XMP = b'Photoshop 3.0\0', b'http://ns.adobe.com/xmp/extension/\0'
_GAIN_MAP = b'urn:iso:std:iso:ts:21496:-1\0'
_EXTENSION_HEADER = 4 + len(_EXTENDED_XMP) + 40  # marker and length, identifier, GUID, whole length, offset
_APP1, _APP2, _APP13, _SCAN, _COMMENT = 0xE1, 0xE2, 0xED, 0xDA, 0xFE


def kept_segments(data: bytes) -> tuple[bytes, bool, tuple[str, ...]]:
    """Return the segments of a file that stay valid when the pixels change, as stored.

    Args:
        data: content of a complete JPEG file.

    Returns:
        the segments; whether they include extended XMP; notes on dropped data.
    """
    kept: list[bytes] = []
    comments: list[bytes] = []
    parts: list[bytes] = []
    notes: tuple[str, ...] = ()
    for marker, start, end in takewhile(lambda segment: segment[0] != _SCAN, jpeg_segments(data)):
        content, segment = data[start:end], data[start - 4 : end]
        if marker == _APP2 and content.startswith(_GAIN_MAP):
            notes = (GAIN_MAP_NOTE,)
        elif marker == _APP13 and content.startswith(_IPTC):
            kept.append(segment)
        elif marker == _APP1 and content.startswith(_EXTENDED_XMP):
            parts.append(segment)
        elif marker == _COMMENT:
            comments.append(segment)
    by_offset = sorted((struct.unpack_from('>I', part, _EXTENSION_HEADER - 4)[0], part) for part in parts)
    packet = b''.join(part[_EXTENSION_HEADER:] for _, part in by_offset)
    extended = bool(parts) and clean_xmp(packet, keeps_extension=True)[0] == packet
    return b''.join([*kept, *(parts if extended else []), *comments[:-1]]), extended, notes  # Pillow keeps the last


def with_segments(data: bytes, segments: bytes) -> bytes:
    """Insert segments into a JPEG file after its first ones (JFIF, EXIF, XMP)."""
    place = 2
    for _, _, place in takewhile(lambda segment: 0xE0 <= segment[0] < 0xF0, jpeg_segments(data)):  # noqa: B007
        pass
    return data[:place] + segments + data[place:]
