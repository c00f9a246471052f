"""Writing photos: the new pixels in a file like the one they came from."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from basicsr.utils.colour_tags import ColourTags, profile_of, with_colour_tags
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import whole_file
from basicsr.utils.heic_files import HEIC_SUFFIXES, suffix_of_heic
from basicsr.utils.image import Array
from basicsr.utils.jpeg_segments import with_segments
from basicsr.utils.photo import Photo, Stored, as_stored
from basicsr.utils.pixels import pil_of
from basicsr.utils.png_files import chunks_of, write_png
from basicsr.utils.tiff_writing import write_tiff

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


def result_suffix(path: Path) -> str:
    """The extension of a photo's result: its own if such files are written; ``.jpg`` or ``.png`` of a HEIC file, which
    is looked at if it is there; else ``.png`` (of a GIF)."""
    suffix = path.suffix.lower()
    if suffix in HEIC_SUFFIXES:
        return suffix_of_heic(path)
    return path.suffix if suffix in _FORMATS else '.png'


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
    stored = photo.stored
    colour = as_stored(photo.pixels, stored.orientation)
    alpha = None if photo.alpha is None else as_stored(photo.alpha, stored.orientation)
    try:
        if kind == 'PNG':
            return write_png(colour, alpha, stored.png_chunks or chunks_of(stored.exif, stored.more)), notes
        if kind == 'TIFF':
            data, more = write_tiff(colour, alpha, stored.exif, stored.more)
            return data, notes + more
        return _by_pillow(kind, colour, alpha, stored), notes
    except (OSError, ValueError, RuntimeError, struct.error) as error:
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
    tags = photo.stored.more.get('colour_tags')
    if isinstance(tags, ColourTags) and not tags.is_srgb and kind not in ('PNG', 'AVIF'):
        profile = photo.stored.more.get('icc_profile') or profile_of(tags)
        if profile is None:
            raise ImageFileError(f'{kind} cannot hold its colours (HDR, transfer {tags.transfer}); write it as PNG')
        photo = replace(photo, stored=replace(photo.stored, more={**photo.stored.more, 'icc_profile': profile}))
    return photo, tuple(notes)


def _by_pillow(kind: str, colour: Array, alpha: Array | None, stored: Stored) -> bytes:
    more: dict[str, Any] = {key: value for key, value in stored.more.items() if key in ('icc_profile', 'dpi', 'xmp')}
    tags = stored.more.get('colour_tags')
    if kind == 'BMP':
        more = {key: value for key, value in more.items() if key == 'dpi'}
    elif stored.exif:
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
    image = pil_of(colour, alpha)
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    data = buffer.getvalue()
    if kind == 'AVIF' and isinstance(tags, ColourTags):
        data = with_colour_tags(data, tags)
    return with_segments(data, stored.jpeg_segments) if kind == 'JPEG' else data


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
