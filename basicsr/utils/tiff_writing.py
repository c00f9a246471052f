"""Write TIFF files: pixels by tifffile, compressed as in the source, and the tags of the source."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from basicsr.utils.image import Array

_EXIF_IFD, _GPS_IFD, _XMP, _PROFILE, _STRIP_OFFSETS, _RESOLUTION = 34665, 34853, 700, 34675, 273, (282, 283, 296)
_LZW, _JPEG, _DEFLATE, _OLD_DEFLATE, _JPEG_2000 = 5, 7, 8, 32946, 34712
_LOSSLESS = (
    1,
    _LZW,
    _DEFLATE,
    _OLD_DEFLATE,
    32773,
    34925,
    50000,
    _JPEG_2000,
)  # none, packbits, LZMA, Zstandard, JPEG 2000
_DIFFERENCES = (_LZW, _DEFLATE, _OLD_DEFLATE, 34925, 50000)  # those that a predictor helps
_SAME = {
    34926: 50000,
    33003: _JPEG_2000,
    33004: _JPEG_2000,
    33005: _JPEG_2000,
}  # other numbers of Zstandard and JPEG 2000
_QUALITY = 95  # of JPEG


def write_tiff(
    colour: Array, alpha: Array | None, exif: bytes, more: Mapping[str, Any]
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a TIFF file, and what could not be kept.

    Args:
        colour: (H, W, 1 or 3), uint8 or uint16, as stored.
        alpha: (H, W, 1) of the same dtype, straight; None without transparency.
        exif: tags as Pillow takes them, EXIF and GPS among them.
        more: ``icc_profile``, ``xmp``, ``dpi``, ``compression`` (a number of tag 259; LZW without one) and
            ``byte_order`` (``<`` or ``>``), those that there are.
    """
    wanted = int(more.get('compression', _LZW))
    compression = _SAME.get(wanted, wanted)
    lossy = compression == _JPEG and colour.dtype == np.uint8 and alpha is None
    notes: tuple[str, ...] = ()
    if compression not in _LOSSLESS and not lossy:
        notes = (f'compression {_name_of(wanted)} became deflate',)
        compression = _DEFLATE
    coded = _encoded(colour, alpha, compression, str(more.get('byte_order', '<')))
    return _with_tags(coded, exif, more), notes


def _encoded(colour: Array, alpha: Array | None, compression: int, byte_order: str) -> bytes:
    import tifffile

    planes = colour if alpha is None else np.concatenate([colour, alpha], 2)
    options: dict[str, Any] = {'compression': compression, 'predictor': compression in _DIFFERENCES}
    if compression == _JPEG:
        options['compressionargs'] = {'level': _QUALITY}
        options |= {'subsampling': (1, 1)} if colour.shape[2] == 3 else {}
    if compression == _JPEG_2000:
        byte_order = '<'  # tifffile would hand the samples over with their bytes exchanged
    if alpha is not None:
        options['extrasamples'] = ['unassalpha']
    file = io.BytesIO()
    with tifffile.TiffWriter(file, byteorder=byte_order) as writer:  # type: ignore[arg-type]
        writer.write(
            np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes),
            photometric='rgb' if colour.shape[2] == 3 else 'minisblack',
            planarconfig='contig' if planes.shape[2] > 1 else None,
            metadata=None,
            software=False,
            **options,
        )
    return file.getvalue()


def _with_tags(coded: bytes, exif: bytes, more: Mapping[str, Any]) -> bytes:
    """The pixels of the file behind a directory that has further tags."""
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
            if tag.code not in _RESOLUTION:  # which tifffile makes up
                directory.tagtype[tag.code] = int(tag.dtype)
                directory[tag.code] = tag.value
        start = min(page.dataoffsets)
        directory[_STRIP_OFFSETS] = tuple(place - start for place in page.dataoffsets)  # Pillow counts from its end
    for number, kind, value in ((_PROFILE, 7, more.get('icc_profile')), (_XMP, 1, more.get('xmp'))):
        if value:
            directory.tagtype[number] = kind
            directory[number] = bytes(value)
    return header + bytes(directory.tobytes(8)) + coded[start:]


def _name_of(compression: int) -> str:
    import tifffile

    try:
        return str(tifffile.COMPRESSION(compression).name)
    except ValueError:
        return str(compression)
