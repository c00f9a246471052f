"""Photos with all that their files say beside the pixels: orientation, colour profile, EXIF, depth, transparency."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin, UnidentifiedImageError

from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import IMAGE_SUFFIXES, Array, refuse_incomplete
from basicsr.utils.pixels import planes_of

PHOTO_SUFFIXES = (*IMAGE_SUFFIXES, '.webp', '.avif', '.gif', '.heic', '.heif')
"""What counts as a photo in a folder, in lower case; some of it is refused when it is read."""
MAX_PIXELS = 150_000_000
"""Larger pictures are refused: a small file may claim to be one and fill the memory."""

_FORMATS = ['JPEG', 'PNG', 'TIFF', 'BMP', 'GIF', 'WEBP', 'AVIF']
_KEPT_TIFF_TAGS = (270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 700, 33432, 33723, 34665, 34853)
_PNG_CHUNKS = (b'iCCP', b'sRGB', b'gAMA', b'cHRM', b'cICP', b'pHYs', b'eXIf', b'tEXt', b'zTXt', b'iTXt', b'tIME')


@dataclass(frozen=True)
class Stored:
    """What a photo's file holds beside the pixels.

    Args:
        format: JPEG, PNG, TIFF, BMP, GIF, WEBP or AVIF.
        orientation: EXIF's 1 to 8: how the stored pixels have to be turned to stand upright.
        exif: as Pillow takes it; empty without any.
        more: further arguments that Pillow writes such a file with (``icc_profile``, ``dpi``, ...).
        png_chunks: chunks of a PNG that belong to no pixel, as they stand in the file.
    """

    format: str = 'PNG'
    orientation: int = 1
    exif: bytes = b''
    more: Mapping[str, Any] = field(default_factory=dict)
    png_chunks: bytes = b''


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

    JPEG (the first picture of multi-picture files), PNG, TIFF, BMP, WebP, AVIF and GIF; see
    :func:`~basicsr.utils.pixels.planes_of` for palettes, black and white, and CMYK.

    Args:
        path: the file.
        max_pixels: larger pictures are refused before they are decoded; at most ``MAX_PIXELS``.

    Raises:
        ImageFileError: missing, empty, cut off, broken, no picture, an animation or several pages, too large, or with
            values of other than 8 or 16 bits.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f'{path}: cannot be read ({error.strerror or error})') from error
    refuse_incomplete(data, str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of sizes below our limit, of odd EXIF data
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return _photo_of(image, data, path, min(max_pixels, MAX_PIXELS))
    except UnidentifiedImageError as error:
        raise ImageFileError(f'{path}: {_guess(data)}') from error
    except Image.DecompressionBombError as error:
        raise ImageFileError(f'{path}: {_too_large(min(max_pixels, MAX_PIXELS))}') from error
    except ImageFileError as error:
        raise error if str(path) in str(error) else ImageFileError(f'{path}: {error}') from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError) as error:
        raise ImageFileError(f'{path}: damaged ({error})') from error


def upright(pixels: Array, orientation: int) -> Array:
    """Turn stored pixels (H, W, C) as EXIF's orientation says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def as_stored(pixels: Array, orientation: int) -> Array:
    """Undo :func:`upright`."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _photo_of(image: Image.Image, data: bytes, path: Path, max_pixels: int) -> Photo:
    if image.width * image.height > max_pixels:
        raise ImageFileError(_too_large(max_pixels))
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format != 'MPO':
        kind = 'pages' if image.format == 'TIFF' else 'frames: an animation'
        raise ImageFileError(f'holds {frames} {kind}; only single pictures are deblurred, save them one by one')
    exif, orientation = _exif_of(image)
    stored = Stored(_format_of(image), orientation, exif, _details(image, data), _png_chunks(data))
    if _is_deep(image, data):
        colour, alpha = _deep_planes(data, path)
        note, remaining, keeps_profile = '', orientation, True
    else:
        image.load()
        # Pillow turns some formats upright by itself, and takes the tag away then
        remaining = image.getexif().get(ExifTags.Base.Orientation, 1) if orientation != 1 else 1
        planes = planes_of(image)
        colour, alpha, note, keeps_profile = planes.colour, planes.alpha, planes.note, planes.keeps_profile
    if not keeps_profile:
        more = {
            key: value for key, value in stored.more.items() if key not in ('icc_profile', 'qtables', 'subsampling')
        }
        stored = Stored(stored.format, orientation, exif, more)
    turn = remaining if remaining == orientation else 1
    return Photo(
        upright(colour, turn), None if alpha is None else upright(alpha, turn), stored, (note,) if note else ()
    )


def _exif_of(image: Image.Image) -> tuple[bytes, int]:
    """EXIF data as Pillow takes them, and the orientation; what cannot be read is like none."""
    if image.format == 'PNG' and 'exif' not in image.info:  # asking for it would decode the picture
        return b'', 1
    try:
        exif = image.getexif()
        orientation = exif.get(ExifTags.Base.Orientation, 1)
        if image.format == 'TIFF':
            kept = Image.Exif()
            for tag in _KEPT_TIFF_TAGS:
                if tag in exif:
                    kept[tag] = exif.get_ifd(tag) if tag in (34665, 34853) else exif[tag]
            data = kept.tobytes() if len(kept) else b''
        else:
            data = image.info.get('exif') or b''
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return b'', 1
    return data, orientation if orientation in range(1, 9) else 1


def _details(image: Image.Image, data: bytes) -> dict[str, Any]:
    """What Pillow is to write a file of this kind with."""
    more = {key: image.info[key] for key in ('icc_profile', 'dpi', 'xmp') if image.info.get(key)}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        more['qtables'] = {key: list(table) for key, table in image.quantization.items()}
        more['subsampling'] = JpegImagePlugin.get_sampling(image)
        more['progressive'] = bool(image.info.get('progressive'))
        if image.info.get('comment'):
            more['comment'] = image.info['comment']
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        more['compression'] = image.info.get('compression')
    elif image.format == 'WEBP':
        more['lossless'] = data[12:16] == b'VP8L' or b'VP8L' in data[:4096]
    return more


def _format_of(image: Image.Image) -> str:
    return 'JPEG' if image.format == 'MPO' else str(image.format)


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether a file has 16-bit samples, of which Pillow would keep the upper half."""
    if image.format == 'PNG':
        return data[24] == 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        # gray values are left to Pillow, which knows those that are stored inverted
        return max(bits) == 16 and len(bits) > 1 and image.mode not in ('F', 'CMYK')
    return False


def _untagged(data: bytes) -> bytes:
    """A TIFF whose orientation says upright, so that OpenCV gives the pixels as stored; others as they are."""
    order = {b'II*\0': '<', b'MM\0*': '>'}.get(data[:4])
    if order is None:
        return data
    (place,) = struct.unpack_from(f'{order}I', data, 4)
    (count,) = struct.unpack_from(f'{order}H', data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        if struct.unpack_from(f'{order}H', data, entry)[0] == ExifTags.Base.Orientation:
            return data[: entry + 8] + struct.pack(f'{order}H', 1) + data[entry + 10 :]
    return data


def _deep_planes(data: bytes, path: Path) -> tuple[Array, Array | None]:
    """16-bit colours and alpha, as stored."""
    try:
        pixels = cv2.imdecode(np.frombuffer(_untagged(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageFileError(f'{path}: cannot be decoded ({error.err})') from error
    if pixels is None or pixels.dtype != np.uint16:
        raise ImageFileError(f'{path}: its 16-bit values cannot be decoded')
    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    colour = pixels[..., :3][..., ::-1] if pixels.shape[2] >= 3 else pixels[..., :1]
    alpha = pixels[..., 3:] if pixels.shape[2] == 4 else None
    if data.startswith(b'\x89PNG') and data[25] == 4:  # gray with alpha, which OpenCV gives as colours
        colour = colour[..., :1]
    return np.ascontiguousarray(colour), None if alpha is None else np.ascontiguousarray(alpha)


def _png_chunks(data: bytes) -> bytes:
    if not data.startswith(b'\x89PNG'):
        return b''
    kept, place = [], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack('>I', data[place : place + 4])
        if data[place + 4 : place + 8] in _PNG_CHUNKS:
            kept.append(data[place : place + 12 + length])
        place += 12 + length
    return b''.join(kept)


def _guess(data: bytes) -> str:
    """What a file that is no picture may be, and what to do."""
    if data[4:8] == b'ftyp' and data[8:12] in (b'heic', b'heix', b'hevc', b'heim', b'mif1', b'msf1'):
        return 'HEIC pictures are not read; save it as JPEG or PNG first'
    if data[4:8] == b'ftyp' or data.startswith((b'RIFF', b'\x1aE\xdf\xa3')):
        return 'a video, not a picture; name it with its extension (.mp4, .mov, .avi, .mkv)'
    if data.startswith((b'\xff\xd8\xff', b'\x89PNG', b'II*\0', b'MM\0*', b'GIF8', b'BM')):
        return 'damaged, or of a variety that is not read'
    return 'no picture (JPEG, PNG, TIFF, BMP, WebP, AVIF or GIF)'


def _too_large(max_pixels: int) -> str:
    return f'more than {max_pixels / 10**6:g} million pixels; scale it down or cut it'
