"""Writing photos: the new pixels in a file like the one they came from."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, JpegImagePlugin, TiffImagePlugin

from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import whole_file
from basicsr.utils.image import Array
from basicsr.utils.photo import Photo, Stored, as_stored
from basicsr.utils.pixels import pil_of

_FORMATS = {
    '.jpg': 'JPEG',
    '.jpeg': 'JPEG',
    '.png': 'PNG',
    '.tif': 'TIFF',
    '.tiff': 'TIFF',
    '.bmp': 'BMP',
    '.webp': 'WEBP',
    '.avif': 'AVIF',
}
_JPEG_FLOOR = 90  # the quality that a photo's own tables are never coarser than
_TIFF_COMPRESSIONS = ('raw', 'tiff_lzw', 'tiff_adobe_deflate', 'tiff_deflate', 'packbits')


def result_suffix(path: Path) -> str:
    """The extension of a photo's result: its own if such files can be written, else ``.png`` (of a GIF)."""
    return path.suffix if path.suffix.lower() in _FORMATS else '.png'


def save_photo(path: Path, photo: Photo) -> tuple[str, ...]:
    """Write a photo with everything that its file held; the file appears complete or not at all.

    Pixels are turned back to how they were stored, so that the orientation stays true. JPEG keeps the photo's own
    quantisation tables, made finer where they are coarser than quality 90. 16 bits stay 16 bits in PNG and TIFF.

    Args:
        path: its extension says the format (:func:`result_suffix`); its folder must exist.
        photo: of :func:`~basicsr.utils.photo.load_photo`, with other pixels of the same kind.

    Returns:
        what could not be kept, in words.

    Raises:
        ImageFileError: a format that is not written, or pixels that it cannot hold.
        OSError: the disk is full or the folder cannot be written.
    """
    data, notes = encode_photo(path.suffix, photo)
    with whole_file(path) as file:
        file.write(data)
    return notes


def encode_photo(suffix: str, photo: Photo) -> tuple[bytes, tuple[str, ...]]:
    """The bytes that :func:`save_photo` writes, and what could not be kept.

    Args:
        suffix: such as ``.jpg``.
        photo: see :func:`save_photo`.

    Raises:
        ImageFileError: see :func:`save_photo`.
    """
    kind = _FORMATS.get(suffix.lower())
    if kind is None:
        raise ImageFileError(f'{suffix or "no extension"}: photos are written as {", ".join(_FORMATS)}')
    photo, notes = _fitting(photo, kind)
    colour = as_stored(photo.pixels, photo.stored.orientation)
    alpha = None if photo.alpha is None else as_stored(photo.alpha, photo.stored.orientation)
    try:
        if colour.dtype == np.uint16:
            return (_deep_png if kind == 'PNG' else _deep_tiff)(colour, alpha, photo.stored), notes
        return _by_pillow(kind, colour, alpha, photo.stored), notes
    except (OSError, ValueError, struct.error) as error:
        raise ImageFileError(f'cannot be written as {kind}: {error}') from error


def _fitting(photo: Photo, kind: str) -> tuple[Photo, tuple[str, ...]]:
    """The photo as the format can hold it."""
    notes = []
    if photo.pixels.dtype == np.uint16 and kind not in ('PNG', 'TIFF'):
        high = (photo.pixels >> 8).astype(np.uint8)
        photo = replace(photo, pixels=high, alpha=None if photo.alpha is None else (photo.alpha >> 8).astype(np.uint8))
        notes.append(f'{kind} holds 8 bits of the 16')
    if photo.alpha is not None and kind in ('JPEG', 'BMP'):
        photo = replace(photo, alpha=None)
        notes.append(f'{kind} holds no transparency')
    if kind == 'BMP' and (photo.stored.exif or 'icc_profile' in photo.stored.more):
        notes.append('BMP holds neither EXIF nor colour profile')
    return photo, tuple(notes)


def _by_pillow(kind: str, colour: Array, alpha: Array | None, stored: Stored) -> bytes:
    more: dict[str, Any] = {key: value for key, value in stored.more.items() if key in ('icc_profile', 'dpi', 'xmp')}
    if kind == 'BMP':
        more = {key: value for key, value in more.items() if key == 'dpi'}
    elif stored.exif:
        more['exif'] = _exif_object(stored.exif) if kind == 'TIFF' else stored.exif
    if kind == 'JPEG':
        more |= _jpeg_settings(stored, colour.shape[2] == 1)
    elif kind == 'TIFF':
        compression = stored.more.get('compression')
        more['compression'] = compression if compression in _TIFF_COMPRESSIONS else 'tiff_lzw'
    elif kind == 'WEBP':
        lossless = bool(stored.more.get('lossless', True))
        more |= {'lossless': lossless, 'quality': 75 if lossless else 92, 'exact': alpha is not None}
    elif kind == 'AVIF':
        more['quality'] = 90
    elif kind == 'PNG':
        more['compress_level'] = 4
        if stored.png_chunks:
            more = {'compress_level': 4}
    image = pil_of(colour, alpha)
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    data = buffer.getvalue()
    return _with_chunks(data, stored.png_chunks) if kind == 'PNG' else data


def _jpeg_settings(stored: Stored, gray: bool) -> dict[str, Any]:
    """The photo's own tables and subsampling, at least as fine as quality 90; quality 95 for other sources."""
    more: dict[str, Any] = {'optimize': True, 'progressive': bool(stored.more.get('progressive'))}
    if stored.more.get('comment'):
        more['comment'] = stored.more['comment']
    tables = stored.more.get('qtables')
    if not tables:
        return {**more, 'quality': 95, 'subsampling': -1 if gray else 0}
    floor = _tables_of_quality(_JPEG_FLOOR)
    finer = [np.minimum(table, floor[min(key, 1)]).tolist() for key, table in sorted(tables.items())]
    return {**more, 'qtables': finer[:1] if gray else finer, 'subsampling': stored.more.get('subsampling', -1)}


def _tables_of_quality(quality: int) -> dict[int, list[int]]:
    buffer = io.BytesIO()
    Image.new('RGB', (8, 8)).save(buffer, 'JPEG', quality=quality)
    buffer.seek(0)
    return dict(JpegImagePlugin.JpegImageFile(buffer).quantization)


def _exif_object(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _deep_png(colour: Array, alpha: Array | None, stored: Stored) -> bytes:
    planes = colour[..., ::-1] if colour.shape[2] == 3 else colour
    if alpha is not None:  # OpenCV writes no gray with alpha
        planes = np.concatenate([np.broadcast_to(planes, (*planes.shape[:2], 3)), alpha], 2)
    done, data = cv2.imencode('.png', np.ascontiguousarray(planes), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise ImageFileError('cannot be encoded as PNG')
    return _with_chunks(data.tobytes(), stored.png_chunks or _chunks_of(stored))


def _chunks_of(stored: Stored) -> bytes:
    """The chunks that a PNG holds EXIF and colour profile in."""
    chunks = b''
    if profile := stored.more.get('icc_profile'):
        chunks += _chunk(b'iCCP', b'ICC Profile\0\0' + zlib.compress(profile))
    if stored.exif:
        chunks += _chunk(b'eXIf', stored.exif.removeprefix(b'Exif\0\0'))
    return chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))


def _with_chunks(data: bytes, chunks: bytes) -> bytes:
    """A PNG with further chunks after its header."""
    return data[:33] + chunks + data[33:]


def _deep_tiff(colour: Array, alpha: Array | None, stored: Stored) -> bytes:
    """16-bit TIFF, one deflated strip of differences: Pillow writes no 16-bit colours, OpenCV no metadata."""
    planes = colour if alpha is None else np.concatenate([colour, alpha], 2)
    height, width, channels = planes.shape
    differences = planes.copy()
    differences[:, 1:] -= planes[:, :-1]  # modulo 2^16, as the format wants it
    strip = zlib.compress(differences.astype('<u2').tobytes(), 6)
    ifd: Any = TiffImagePlugin.ImageFileDirectory_v2(ifh=b'II*\0\x08\0\0\0')
    if stored.exif:
        exif = _exif_object(stored.exif)
        for tag in exif:
            ifd[tag] = exif.get_ifd(tag) if tag in (34665, 34853) else exif[tag]
    ifd[256], ifd[257], ifd[258] = width, height, (16,) * channels
    ifd[259], ifd[262] = 8, 2 if colour.shape[2] == 3 else 1
    ifd[273], ifd[277], ifd[278], ifd[279] = 0, channels, height, len(strip)
    ifd[284], ifd[317] = 1, 2
    if alpha is not None:
        ifd[338] = 2
    if profile := stored.more.get('icc_profile'):
        ifd.tagtype[34675] = 7
        ifd[34675] = profile
    return b'II*\0\x08\0\0\0' + bytes(ifd.tobytes(8)) + strip
