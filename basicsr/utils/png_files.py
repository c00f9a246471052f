"""Read and write PNG files with every colour type, depth and transparency, and the chunks that belong to no pixel."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from basicsr.utils.colour_tags import ColourTags
from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import Array
from basicsr.utils.pixels import Planes, split_alpha
from basicsr.utils.xmp import clean_xmp

_KEPT = (b'iCCP', b'sRGB', b'gAMA', b'cHRM', b'cICP', b'pHYs', b'eXIf', b'tEXt', b'zTXt', b'iTXt', b'tIME')
_XMP = b'XML:com.adobe.xmp\0\0\0\0\0'  # keyword, not compressed, no language
_PALETTE = 3


def read_png(data: bytes, name: str) -> Planes:
    """The pixels of a PNG file: gray or RGB, 8 or 16 bits, with alpha if it has any kind of transparency.

    Args:
        data: the whole content of a file that is whole.
        name: for the message.

    Raises:
        ImageFileError: it is damaged.
    """
    import imagecodecs

    bits, kind = data[24], data[25]
    try:
        colour, alpha = split_alpha(np.asarray(imagecodecs.png_decode(data)))
    except (RuntimeError, ValueError) as error:
        raise ImageFileError(f'{name}: damaged ({error})') from error
    note = 'a palette became RGB' if kind == _PALETTE else ''
    if kind != _PALETTE and bits < 8:
        note = 'black and white became 8-bit gray' if bits == 1 else f'{bits} bits became 8-bit gray'
    return Planes(colour, alpha, note)


def write_png(colour: Array, alpha: Array | None, chunks: bytes) -> bytes:
    """The bytes of a PNG file.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16.
        alpha: (H, W, 1) of the same dtype; None without transparency.
        chunks: of :func:`kept_chunks` or :func:`chunks_of`.
    """
    import imagecodecs

    planes = colour if alpha is None else np.concatenate([colour, alpha], 2)
    planes = np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes)
    data = bytes(imagecodecs.png_encode(planes, level=4))
    return data[:33] + chunks + data[33:]


def kept_chunks(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The chunks of a file that stay true of its image when the pixels change, and what of them does not."""
    kept: list[bytes] = []
    notes: tuple[str, ...] = ()
    for name, content in _chunks(data):
        if name == b'iTXt' and content.startswith(_XMP):
            packet, notes = clean_xmp(content[len(_XMP) :])
            content = _XMP + packet
            if not packet:
                continue
        if name in _KEPT:
            kept.append(_chunk(name, content))
    return b''.join(kept), notes


def chunks_of(exif: bytes, more: Mapping[str, Any]) -> bytes:
    """Chunks that hold what files of other formats say.

    Args:
        exif: as Pillow takes it.
        more: ``icc_profile``, ``xmp`` (bytes), ``dpi`` (two numbers) and ``colour_tags``, those that there are.
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
    """The plain texts (``tEXt``) of a PNG before its pixels; none if it is no PNG.

    Args:
        data: the file, or its beginning.
    """
    texts = {}
    if data.startswith(b'\x89PNG'):
        for name, content in _chunks(data):
            if name == b'IDAT':
                break
            if name == b'tEXt':
                keyword, _, text = content.partition(b'\0')
                texts[keyword.decode('latin-1')] = text.decode('latin-1')
    return texts


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place + 12 <= len(data):
        length, name = struct.unpack_from('>I4s', data, place)
        yield name, data[place + 8 : place + 8 + length]
        place += 12 + length
        if name == b'IEND':
            return


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
