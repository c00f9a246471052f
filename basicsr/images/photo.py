"""Read photos with their metadata: orientation, colour profile, EXIF, depth, transparency."""

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
from basicsr.images.orientation import upright
from basicsr.images.pixels import Planes, planes_of_pil
from basicsr.images.png import kept_chunks, read_png
from basicsr.images.tiff import read_tiff
from basicsr.images.tiff_tags import exif_of_tiff
from basicsr.images.unread import why_not_a_photo
from basicsr.images.xmp import clean_xmp
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import read_file

PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, '.webp', '.avif', '.gif', *HEIC_SUFFIXES)
"""Extensions of photos in a folder, in lower case; some of these files are refused when they are read."""

_FORMATS = ['JPEG', 'PNG', 'BMP', 'GIF', 'WEBP', 'AVIF']
_OF_COLOUR = ('icc_profile', 'qtables', 'subsampling', 'colour_tags')


@dataclass(frozen=True)
class Stored:
    """Format and metadata of a photo's file.

    Args:
        format: JPEG, PNG, TIFF, BMP, GIF, WEBP, AVIF or HEIC.
        orientation: EXIF orientation, 1 to 8, which turns the stored pixels upright.
        exif: EXIF data as in Pillow; empty without any.
        more: other settings and metadata for writing (``icc_profile``, ``xmp``, ``dpi``, ``compression``, ...).
        segments: metadata chunks of a PNG, or segments of a JPEG that Pillow does not write (IPTC, extended XMP), as
            stored.
    """

    format: str = 'PNG'
    orientation: int = 1
    exif: bytes = b''
    more: Mapping[str, Any] = field(default_factory=dict)
    segments: bytes = b''


@dataclass(frozen=True)
class Photo:
    """An upright photo.

    Args:
        pixels: (H, W, 3) RGB or (H, W, 1) gray, uint8 or uint16, upright.
        alpha: (H, W, 1) of the same dtype; None without transparency.
        stored: format and metadata of its file.
        notes: conversions and dropped data, in words.
    """

    pixels: Array
    alpha: Array | None = None
    stored: Stored = field(default_factory=Stored)
    notes: tuple[str, ...] = ()


def load_photo(path: Path, max_pixels: int = MAX_PIXELS) -> Photo:
    """Read a photo: JPEG, PNG, TIFF, BMP, WebP, AVIF, GIF, and with pillow-heif HEIC.

    docs/files.md lists what is kept, converted and refused in each format.

    Args:
        path: the file; its format is detected from its content.
        max_pixels: maximum number of pixels, at most ``MAX_PIXELS``; larger images are refused before decoding.

    Raises:
        ImageFileError: missing, empty, cut off, damaged, not an image, camera raw, an animation or several pages, too
            large, or of an unsupported kind of samples.
    """
    data = read_file(path, ImageFileError)
    limit, name = min(max_pixels, MAX_PIXELS), str(path)
    kind = read_header(data, name, limit).format
    try:
        if kind == 'TIFF':
            return _from_tiff(data, name, limit)
        if kind == 'HEIC':
            planes, exif, more, notes = read_heic(data, name, limit)
            return _photo(planes, Stored('HEIC', 1, exif, more), 1, notes)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about sizes below our limit, and damaged EXIF data
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _from_pillow(image, data, name, limit)
    except UnidentifiedImageError as error:
        raise ImageFileError(f'{path}: {why_not_a_photo(data)}') from error
    except Image.DecompressionBombError as error:
        raise too_many_pixels(name, limit) from error
    except ImageFileError as error:
        raise error if name in str(error) else ImageFileError(f'{path}: {error}') from error
    except MemoryError as error:
        raise ImageFileError(f'{path}: there is not enough memory to decode it') from error
    except Exception as error:  # decoders raise errors of many types
        raise ImageFileError(f'{path}: damaged ({error})') from error


def _from_tiff(data: bytes, name: str, max_pixels: int) -> Photo:
    tiff = read_tiff(data, name, max_pixels)
    exif, more = exif_of_tiff(data, tiff.directories)
    more |= {'compression': tiff.compression, 'byte_order': tiff.byte_order}
    return _photo(tiff.planes, Stored('TIFF', tiff.orientation, exif, more), tiff.orientation, tiff.notes)


def _from_pillow(image: Image.Image, data: bytes, name: str, max_pixels: int) -> Photo:
    if image.width * image.height > max_pixels:
        raise too_many_pixels(name, max_pixels)
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        raise ImageFileError(f'contains {frames} frames: an animation; save the frames as single images')
    exif, orientation = _exif_of(image)
    turn, segments, extended = orientation, b'', False
    notes: tuple[str, ...] = ()
    kind = 'JPEG' if image.format == 'MPO' else str(image.format)
    more = _details(image, data)
    if kind == 'PNG':
        segments, notes = kept_chunks(data)
        planes = read_png(data, name)
    else:
        if kind == 'JPEG':
            segments, extended, notes = kept_segments(data)
        planes = planes_of_pil(image)
        # Pillow turns some formats upright itself, and then removes the tag
        if orientation != 1 and image.getexif().get(ExifTags.Base.Orientation, 1) != orientation:
            turn = 1
    tags = more.get('colour_tags')
    if isinstance(tags, ColourTags) and tags.subsampling == '4:0:0':  # older Pillow makes RGB of gray
        planes = replace(planes, colour=planes.colour[..., :1])
    if isinstance(tags, ColourTags) and tags.bits > 8:
        notes += (f'{tags.bits} bits converted to 8',)
    return _photo(planes, Stored(kind, orientation, exif, more, segments), turn, (*notes, planes.note), extended)


def _photo(planes: Planes, stored: Stored, turn: int, notes: tuple[str, ...], keeps_extension: bool = False) -> Photo:
    """Return the photo upright, without metadata that its pixels contradict."""
    packet, dropped = clean_xmp(stored.more.get('xmp', b''), planes.keeps_profile, keeps_extension)
    unwanted = ('xmp', *(() if planes.keeps_profile else _OF_COLOUR))
    more = {key: value for key, value in stored.more.items() if key not in unwanted}
    if packet:
        more['xmp'] = packet
    alpha = None if planes.alpha is None else upright(planes.alpha, turn)
    notes = tuple(dict.fromkeys(note for note in (*notes, *dropped) if note))
    return Photo(upright(planes.colour, turn), alpha, replace(stored, more=more), notes)


def _exif_of(image: Image.Image) -> tuple[bytes, int]:
    """Return EXIF data as in Pillow, and the orientation; damaged data are ignored."""
    if image.format == 'PNG' and 'exif' not in image.info:  # asking for it would decode the image
        return b'', 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        data = image.info.get('exif') or b''
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return b'', 1
    return data, orientation if orientation in range(1, 9) else 1


def _details(image: Image.Image, data: bytes) -> dict[str, Any]:
    """Return settings and metadata for writing a file of this format."""
    more = {key: image.info[key] for key in ('icc_profile', 'dpi', 'xmp', 'comment') if image.info.get(key)}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        more['qtables'] = {key: list(table) for key, table in image.quantization.items()}
        more['subsampling'] = JpegImagePlugin.get_sampling(image)
        more['progressive'] = bool(image.info.get('progressive'))
    elif image.format == 'WEBP':
        more['lossless'] = data[12:16] == b'VP8L' or b'VP8L' in data[:4096]
    elif image.format == 'AVIF':
        more['colour_tags'] = read_colour_tags(data)
    return more
