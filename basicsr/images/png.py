"""Read and write PNG files of every colour type, depth and transparency, and copy their metadata chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.colour_tags import ColourTags
from basicsr.images.headers import png_chunks
from basicsr.images.pixels import BILEVEL_NOTE, PALETTE_NOTE, Planes, joined, split_alpha
from basicsr.images.xmp import clean_xmp
from basicsr.utils.errors import ImageFileError

_KEPT = (b'iCCP', b'sRGB', b'gAMA', b'cHRM', b'cICP', b'pHYs', b'eXIf', b'tEXt', b'zTXt', b'iTXt', b'tIME')
_XMP = b'XML:com.adobe.xmp\0\0\0\0\0'  # keyword, not compressed, no language
_PALETTE = 3


def read_png(data: bytes, name: str) -> Planes:
    """Decode a PNG file to gray or RGB of 8 or 16 bits, with alpha if it has any kind of transparency.

    Args:
        data: content of a complete file.
        name: for the error message.

    Raises:
        ImageFileError: it is damaged.
    """
    import imagecodecs

    bits, kind = data[24], data[25]
    try:
        colour, alpha = split_alpha(np.asarray(imagecodecs.png_decode(data)))
    except Exception as error:
        raise ImageFileError(f'{name}: damaged ({error})') from error
    if kind == _PALETTE:
        note = PALETTE_NOTE
    else:
        note = '' if bits >= 8 else BILEVEL_NOTE if bits == 1 else f'{bits} bits converted to 8-bit gray'
    return Planes(colour, alpha, note)


def write_png(colour: Array, alpha: Array | None, chunks: bytes) -> bytes:
    """Encode a PNG file.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16.
        alpha: (H, W, 1) of the same dtype; None without transparency.
        chunks: from :func:`kept_chunks` or :func:`chunks_of`.
    """
    import imagecodecs

    data = bytes(imagecodecs.png_encode(joined(colour, alpha), level=4))
    return data[:33] + chunks + data[33:]


def kept_chunks(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the chunks of a file that stay valid when the pixels change, and notes on dropped data."""
    kept: list[bytes] = []
    notes: tuple[str, ...] = ()
    for name, start, end in png_chunks(data):
        content = data[start:end]
        if name == b'iTXt' and content.startswith(_XMP):
            packet, notes = clean_xmp(content[len(_XMP) :])
            content = _XMP + packet
            if not packet:
                continue
        if name in _KEPT:
            kept.append(_chunk(name, content))
    return b''.join(kept), notes


def chunks_of(exif: bytes, more: Mapping[str, Any]) -> bytes:
    """Return chunks with the metadata of a file of a different format.

    Args:
        exif: EXIF data as in Pillow.
        more: any of ``icc_profile``, ``xmp`` (bytes), ``dpi`` (two numbers) and ``colour_tags``.
    """
    chunks = b''
    tags = more.get('colour_tags')
    if profile := more.get('icc_profile'):
        chunks += _chunk(b'iCCP', b'ICC Profile\0\0' + zlib.compress(profile))
    elif isinstance(tags, ColourTags) and not tags.is_srgb:
        chunks += _chunk(b'cICP', bytes((tags.primaries, tags.transfer, 0, 1)))
    if dpi := more.get('dpi'):
        chunks += _chunk(b'pHYs', struct.pack('>IIB', *(round(float(value) / 0.0254) for value in dpi), 1))
    if exif:
        chunks += _chunk(b'eXIf', exif.removeprefix(b'Exif\0\0'))
    if packet := more.get('xmp'):
        chunks += _chunk(b'iTXt', _XMP + bytes(packet))
    return chunks


def png_texts(data: bytes) -> dict[str, str]:
    """Return the ``tEXt`` chunks of a PNG before its pixels by keyword; empty for other files.

    Args:
        data: the file, or its beginning.
    """
    texts = {}
    for name, start, end in png_chunks(data) if data.startswith(b'\x89PNG') else ():
        if name == b'IDAT':
            break
        if name == b'tEXt':
            keyword, _, text = data[start:end].partition(b'\0')
            texts[keyword.decode('latin-1')] = text.decode('latin-1')
    return texts


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
