"""Photos with all that their files say beside the pixels: orientation, colour profile, EXIF, depth, transparency."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, JpegImagePlugin, UnidentifiedImageError

from basicsr.images.arrays import Array
from basicsr.images.colour_tags import ColourTags, read_colour_tags
from basicsr.images.files import IMAGE_SUFFIXES
from basicsr.images.headers import MAX_PIXELS, read_header, too_many_pixels
from basicsr.images.heic import HEIC_SUFFIXES, read_heic
from basicsr.images.jpeg_segments import kept_segments
from basicsr.images.orientation import as_stored, upright
from basicsr.images.pixels import Planes, planes_of_pil
from basicsr.images.png import kept_chunks, read_png
from basicsr.images.tiff import read_tiff
from basicsr.images.tiff_tags import exif_of_tiff
from basicsr.images.unread import what_it_is
from basicsr.images.xmp import clean_xmp
from basicsr.utils.errors import ImageFileError

__all__ = ['PHOTO_SUFFIXES', 'Photo', 'Stored', 'as_stored', 'load_photo', 'upright']

PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, '.webp', '.avif', '.gif', *HEIC_SUFFIXES)
"""What counts as a photo in a folder, in lower case; some of it is refused when it is read."""

_FORMATS = ['JPEG', 'PNG', 'BMP', 'GIF', 'WEBP', 'AVIF']
_OF_COLOUR = ('icc_profile', 'qtables', 'subsampling', 'colour_tags')


@dataclass(frozen=True)
class Stored:
    """What a photo's file holds beside the pixels.

    Args:
        format: JPEG, PNG, TIFF, BMP, GIF, WEBP, AVIF or HEIC.
        orientation: EXIF's 1 to 8: how the stored pixels have to be turned to stand upright.
        exif: as Pillow takes it; empty without any.
        more: what else such a file is written with (``icc_profile``, ``xmp``, ``dpi``, ``compression``, ...).
        png_chunks: chunks of a PNG that belong to no pixel, as they stand in the file.
        jpeg_segments: segments of a JPEG that Pillow does not write (IPTC, extended XMP), in the same way.
    """

    format: str = 'PNG'
    orientation: int = 1
    exif: bytes = b''
    more: Mapping[str, Any] = field(default_factory=dict)
    png_chunks: bytes = b''
    jpeg_segments: bytes = b''


@dataclass(frozen=True)
class Photo:
    """A photo as people see it.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 1) gray, uint8 or uint16, upright.
        alpha: (H, W, 1) of the same dtype; None without transparency.
        stored: what its file holds beside that.
        notes: what had to be changed in reading, in words.
    """

    pixels: Array
    alpha: Array | None = None
    stored: Stored = field(default_factory=Stored)
    notes: tuple[str, ...] = ()


def load_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo.

    JPEG (the first image of multi-picture files), PNG, TIFF, BMP, WebP, AVIF, GIF, and HEIC with pillow-heif;
    docs/files.md says what is kept, converted and refused of each.

    Args:
        path: the file; its content decides what it is, not its name.
        max_pixels: larger images are refused before they are decoded; at most ``MAX_PIXELS``.

    Raises:
        ImageFileError: missing, empty, cut off, damaged, no image, camera raw, an animation or several pages, too
            large, or with samples that cannot be shown faithfully.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f'{path}: cannot be read ({error.strerror or error})') from error
    limit, name = min(max_pixels, MAX_PIXELS), str(path)
    kind = read_header(data, name, limit).format
    try:
        if kind == 'TIFF':
            return _of_tiff(data, name, limit)
        if kind == 'HEIC':
            return _of_heic(data, name, limit)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of sizes below our limit, of odd EXIF data
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _of_pillow(image, data, name, limit)
    except UnidentifiedImageError as error:
        raise ImageFileError(f'{path}: {what_it_is(data)}') from error
    except Image.DecompressionBombError as error:
        raise too_many_pixels(name, limit) from error
    except ImageFileError as error:
        raise error if name in str(error) else ImageFileError(f'{path}: {error}') from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, OverflowError) as error:
        raise ImageFileError(f'{path}: damaged ({error})') from error


def _of_tiff(data: bytes, name: str, max_pixels: int) -> Photo:
    tiff = read_tiff(data, name, max_pixels)
    exif, more, notes = exif_of_tiff(data, tiff.directories, tiff.planes.keeps_profile)
    more |= {'compression': tiff.compression, 'byte_order': tiff.byte_order}
    return _photo(tiff.planes, Stored('TIFF', tiff.orientation, exif, more), tiff.orientation, tiff.notes + notes)


def _of_heic(data: bytes, name: str, max_pixels: int) -> Photo:
    planes, more, notes = read_heic(data, name, max_pixels)
    exif = more.pop('exif', b'')
    packet, untrue = clean_xmp(more.get('xmp', b''))
    return _photo(planes, Stored('HEIC', 1, exif, {**more, 'xmp': packet}), 1, notes + untrue)


def _of_pillow(image: Image.Image, data: bytes, name: str, max_pixels: int) -> Photo:
    if image.width * image.height > max_pixels:
        raise too_many_pixels(name, max_pixels)
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        raise ImageFileError(
            f'holds {frames} frames: an animation; only single images are deblurred, save them one by one'
        )
    exif, orientation = _exif_of(image)
    more = _details(image, data)
    notes: tuple[str, ...] = ()
    stored = Stored('JPEG' if image.format == 'MPO' else str(image.format), orientation, exif, more)
    extended = False
    if stored.format == 'JPEG':
        segments, extended, notes = kept_segments(data)
        stored = replace(stored, jpeg_segments=segments)
    if stored.format == 'PNG':
        chunks, notes = kept_chunks(data)
        stored = replace(stored, png_chunks=chunks)
        planes, remaining = read_png(data, name), orientation
    else:
        image.load()
        # Pillow turns some formats upright by itself, and takes the tag away then
        remaining = image.getexif().get(ExifTags.Base.Orientation, 1) if orientation != 1 else 1
        planes = planes_of_pil(image)
    packet, untrue = clean_xmp(more.pop('xmp', b''), planes.keeps_profile, extended)
    if packet:
        more['xmp'] = packet
    tags = more.get('colour_tags')
    if isinstance(tags, ColourTags) and tags.subsampling == '4:0:0':  # older Pillow makes RGB of gray
        planes = replace(planes, colour=planes.colour[..., :1])
    if isinstance(tags, ColourTags) and tags.bits > 8:
        notes += (f'{tags.bits} bits became 8',)
    return _photo(planes, stored, remaining if remaining == orientation else 1, (*notes, *untrue, planes.note))


def _photo(planes: Planes, stored: Stored, turn: int, notes: tuple[str, ...]) -> Photo:
    if not planes.keeps_profile:
        stored = replace(stored, more={key: value for key, value in stored.more.items() if key not in _OF_COLOUR})
    alpha = None if planes.alpha is None else upright(planes.alpha, turn)
    said = tuple(dict.fromkeys(note for note in notes if note))
    return Photo(upright(planes.colour, turn), alpha, stored, said)


def _exif_of(image: Image.Image) -> tuple[bytes, int]:
    """EXIF data as Pillow takes them, and the orientation; what cannot be read is like none."""
    if image.format == 'PNG' and 'exif' not in image.info:  # asking for it would decode the image
        return b'', 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        data = image.info.get('exif') or b''
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return b'', 1
    return data, orientation if orientation in range(1, 9) else 1


def _details(image: Image.Image, data: bytes) -> dict[str, Any]:
    """What a file of this kind is to be written with."""
    more = {key: image.info[key] for key in ('icc_profile', 'dpi', 'xmp') if image.info.get(key)}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        more['qtables'] = {key: list(table) for key, table in image.quantization.items()}
        more['subsampling'] = JpegImagePlugin.get_sampling(image)
        more['progressive'] = bool(image.info.get('progressive'))
        if image.info.get('comment'):
            more['comment'] = image.info['comment']
    elif image.format == 'WEBP':
        more['lossless'] = data[12:16] == b'VP8L' or b'VP8L' in data[:4096]
    elif image.format == 'AVIF':
        more['colour_tags'] = read_colour_tags(data)
    return more
