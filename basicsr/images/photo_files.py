"""Write photos: new pixels with the format and metadata of the source file."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from basicsr.images.arrays import Array
from basicsr.images.colour_tags import ColourTags, profile_of, with_colour_tags
from basicsr.images.heic import HEIC_SUFFIXES, suffix_of_heic
from basicsr.images.jpeg_segments import with_segments
from basicsr.images.orientation import as_stored
from basicsr.images.photo import Photo, Stored
from basicsr.images.pixels import pil_of
from basicsr.images.png import chunks_of, write_png
from basicsr.images.tiff_writing import write_tiff
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import write_whole

_FORMATS = {f'.{kind.lower()}': kind for kind in ('JPEG', 'PNG', 'TIFF', 'BMP', 'WEBP', 'AVIF')}
_FORMATS |= {'.jpg': 'JPEG', '.tif': 'TIFF'}
_JPEG_FLOOR = 90  # lowest quality of results


def result_suffix(path: Path) -> str:
    """Return the extension of a photo's result: its own for formats that are written, ``.jpg`` or ``.png`` for a HEIC
    file (by its content if it exists), else ``.png`` (for a GIF)."""
    suffix = path.suffix.lower()
    if suffix in HEIC_SUFFIXES:
        return suffix_of_heic(path)
    return path.suffix if suffix in _FORMATS else '.png'


def save_photo(path: Path, photo: Photo) -> tuple[str, ...]:
    """Write a photo with all metadata of its source; the file appears complete or not at all.

    Pixels are turned back as they were stored, so the orientation tag stays valid. JPEG keeps the photo's quantisation
    tables, made finer where they are coarser than quality 90. PNG and TIFF keep 16 bits.

    Args:
        path: its extension determines the format (:func:`result_suffix`); its folder must exist.
        photo: from :func:`~basicsr.images.photo.load_photo`, with other pixels of the same kind.

    Returns:
        notes on what the format cannot keep.

    Raises:
        ImageFileError: the format is not supported, or does not support the pixels.
        OSError: the disk is full or the folder cannot be written.
    """
    data, notes = encode_photo(path.suffix, photo)
    write_whole(path, data)
    return notes


def encode_photo(suffix: str, photo: Photo) -> tuple[bytes, tuple[str, ...]]:
    """Return the bytes that :func:`save_photo` writes, and notes on what the format cannot keep.

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
    stored = photo.stored
    colour = as_stored(photo.pixels, stored.orientation)
    alpha = None if photo.alpha is None else as_stored(photo.alpha, stored.orientation)
    try:
        if kind == 'PNG':
            own = stored.segments if stored.format == 'PNG' else b''
            return write_png(colour, alpha, own or chunks_of(stored.exif, stored.more)), notes
        if kind == 'TIFF':
            data, more = write_tiff(colour, alpha, stored.exif, stored.more)
            return data, notes + more
        return _by_pillow(kind, colour, alpha, stored), notes
    except (OSError, ValueError, RuntimeError, struct.error) as error:
        raise ImageFileError(f'cannot be written as {kind}: {error}') from error


def _fitting(photo: Photo, kind: str) -> tuple[Photo, tuple[str, ...]]:
    """Convert a photo to properties that the format supports."""
    notes = []
    if photo.pixels.dtype == np.uint16 and kind not in ('PNG', 'TIFF'):
        high = (photo.pixels >> 8).astype(np.uint8)
        photo = replace(photo, pixels=high, alpha=None if photo.alpha is None else (photo.alpha >> 8).astype(np.uint8))
        notes.append(f'{kind} supports only 8 of the 16 bits')
    if photo.alpha is not None and kind in ('JPEG', 'BMP'):
        photo = replace(photo, alpha=None)
        notes.append(f'{kind} does not support transparency')
    if kind == 'BMP' and (photo.stored.exif or 'icc_profile' in photo.stored.more):
        notes.append('BMP does not support EXIF or colour profiles')
    tags = photo.stored.more.get('colour_tags')
    if isinstance(tags, ColourTags) and not tags.is_srgb and kind not in ('PNG', 'AVIF'):
        profile = photo.stored.more.get('icc_profile') or profile_of(tags)
        if profile is None:
            raise ImageFileError(f'{kind} does not support HDR (transfer {tags.transfer}); write it as PNG')
        photo = replace(photo, stored=replace(photo.stored, more={**photo.stored.more, 'icc_profile': profile}))
    return photo, tuple(notes)


def _by_pillow(kind: str, colour: Array, alpha: Array | None, stored: Stored) -> bytes:
    kept = ('dpi',) if kind == 'BMP' else ('icc_profile', 'dpi', 'xmp')
    more: dict[str, Any] = {key: value for key, value in stored.more.items() if key in kept}
    tags = stored.more.get('colour_tags')
    if stored.exif and kind != 'BMP':
        more['exif'] = stored.exif
    if kind == 'JPEG':
        more |= _jpeg_settings(stored, colour.shape[2] == 1)
    elif kind == 'WEBP':
        lossless = bool(stored.more.get('lossless', True))
        more |= {'lossless': lossless, 'quality': 75 if lossless else 92, 'exact': alpha is not None}
    elif kind == 'AVIF':
        more['quality'] = 90
        if isinstance(tags, ColourTags):
            more['subsampling'] = '4:0:0' if colour.shape[2] == 1 else tags.subsampling
    buffer = io.BytesIO()
    pil_of(colour, alpha).save(buffer, kind, **more)
    data = buffer.getvalue()
    if kind == 'AVIF' and isinstance(tags, ColourTags):
        data = with_colour_tags(data, tags)
    return with_segments(data, stored.segments) if kind == stored.format == 'JPEG' else data


def _jpeg_settings(stored: Stored, gray: bool) -> dict[str, Any]:
    """Return the photo's tables and subsampling, at least as fine as quality 90; quality 95 for other sources."""
    more: dict[str, Any] = {'optimize': True, 'progressive': bool(stored.more.get('progressive'))}
    more |= {'comment': stored.more['comment']} if stored.more.get('comment') else {}
    tables = stored.more.get('qtables')
    if not tables:
        return {**more, 'quality': 95, 'subsampling': -1 if gray else 0}
    buffer = io.BytesIO()
    Image.new('RGB', (8, 8)).save(buffer, 'JPEG', quality=_JPEG_FLOOR)
    buffer.seek(0)
    floor = JpegImagePlugin.JpegImageFile(buffer).quantization
    finer = [np.minimum(table, floor[min(key, 1)]).tolist() for key, table in sorted(tables.items())]
    return {**more, 'qtables': finer[:1] if gray else finer, 'subsampling': stored.more.get('subsampling', -1)}
