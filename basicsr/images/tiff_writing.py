"""Write TIFF files: pixels through tifffile, compressed as in the source, and the tags of the source."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from basicsr.images.arrays import Array
from basicsr.images.pixels import joined

_EXIF_IFD, _GPS_IFD, _XMP, _PROFILE, _STRIP_OFFSETS, _RESOLUTION = 34665, 34853, 700, 34675, 273, (282, 283, 296)
_LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _JPEG_2000 = 5, 7, 8, 32946, 34712
_ZSTANDARD = 50000
_PREDICTED = (_LZW, _DEFLATE, _OLD_DEFLATE, 34925, _ZSTANDARD)  # compressions that a predictor helps; 34925: LZMA
_LOSSLESS = (1, 32773, _JPEG_2000, *_PREDICTED)  # 1: none, 32773: PackBits
_ALIASES = {34926: _ZSTANDARD, **dict.fromkeys((33003, 33004, 33005), _JPEG_2000)}
_QUALITY = 95  # of JPEG


def write_tiff(
    colour: Array, alpha: Array | None, exif: bytes, more: Mapping[str, Any]
) -> tuple[bytes, tuple[str, ...]]:
    """Encode a TIFF file; return its bytes, and notes on what it cannot keep.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16, as stored.
        alpha: (H, W, 1) of the same dtype, straight; None without transparency.
        exif: tags as in Pillow, including EXIF and GPS.
        more: any of ``icc_profile``, ``xmp``, ``dpi``, ``compression`` (value of tag 259, default LZW) and
            ``byte_order`` (``<`` or ``>``).
    """
    wanted = int(more.get('compression', _LZW))
    compression = _ALIASES.get(wanted, wanted)
    lossy = compression == _JPEG and colour.dtype == np.uint8 and alpha is None
    notes: tuple[str, ...] = ()
    if compression not in _LOSSLESS and not lossy:
        import tifffile

        name = {int(kind): kind.name for kind in tifffile.COMPRESSION}.get(wanted, wanted)
        notes = (f'compression {name} replaced by deflate',)
        compression = _DEFLATE
    coded = _encoded(colour, alpha, compression, str(more.get('byte_order', '<')))
    return _with_tags(coded, exif, more), notes


def _encoded(colour: Array, alpha: Array | None, compression: int, byte_order: str) -> bytes:
    import tifffile

    pixels = joined(colour, alpha)
    options: dict[str, Any] = {'compression': compression, 'predictor': compression in _PREDICTED}
    if compression == _JPEG:
        options['compressionargs'] = {'level': _QUALITY}
        options |= {'subsampling': (1, 1)} if colour.shape[2] == 3 else {}
    if compression == _JPEG_2000:
        byte_order = '<'  # tifffile would pass the samples with swapped bytes
    if alpha is not None:
        options['extrasamples'] = ['unassalpha']
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byte_order) as writer:  # type: ignore[arg-type]
        writer.write(
            pixels,
            photometric='rgb' if colour.shape[2] == 3 else 'minisblack',
            planarconfig='contig' if pixels.ndim == 3 else None,
            metadata=None,
            software=False,
            **options,
        )
    return file.getvalue()


def _with_tags(coded: bytes, exif: bytes, more: Mapping[str, Any]) -> bytes:
    """Replace the directory of a file by one with further tags."""
    import tifffile

    header = coded[:4] + struct.pack('<I' if coded.startswith(b'II') else '>I', 8)
    directory: Any = TiffImagePlugin.ImageFileDirectory_v2(ifh=header)
    if exif:
        tags = Image.Exif()
        tags.load(exif)
        for tag in tags:
            directory[tag] = tags.get_ifd(tag) if tag in (_EXIF_IFD, _GPS_IFD) else tags[tag]
    elif 'dpi' in more:
        directory[282], directory[283], directory[296] = (*(float(value) for value in more['dpi']), 2)
    with tifffile.TiffFile(io.BytesIO(coded)) as file:
        page: Any = file.pages[0]
        for tag in page.tags:
            if tag.code not in _RESOLUTION:  # tifffile writes default values
                directory.tagtype[tag.code] = int(tag.dtype)
                directory[tag.code] = tag.value
        start = min(page.dataoffsets)
        # Pillow counts from the end of the directory
        directory[_STRIP_OFFSETS] = tuple(place - start for place in page.dataoffsets)
    for number, kind, value in ((_PROFILE, 7, more.get('icc_profile')), (_XMP, 1, more.get('xmp'))):
        if value:
            directory.tagtype[number] = kind
            directory[number] = bytes(value)
    return header + bytes(directory.tobytes(8)) + coded[start:]
