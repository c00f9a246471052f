"""Read HEIC files through pillow-heif (extra ``heic``)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.images.colour_tags import ColourTags, read_colour_tags
from basicsr.images.headers import too_many_pixels
from basicsr.images.pixels import Planes, divided_by_alpha, split_alpha
from basicsr.images.xmp import DEPTH_MAP_NOTE, GAIN_MAP_NOTE
from basicsr.utils.errors import ImageFileError

HEIC_SUFFIXES = ('.heic', '.heif')
"""Extensions of HEIC files, in lower case."""
INSTALL = "run `pip install -e '.[heic]'` (or `pip install pillow-heif`), or save it as JPEG or PNG first"
"""The advice in errors about HEIC files."""

_ALPHA = (b'urn:mpeg:hevc:2015:auxid:1', b'urn:mpeg:mpegB:cicp:systems:auxiliary:alpha')
_HEAD = 2**16  # bytes; contain the description of the images


def read_heic(data: bytes, name: str, max_pixels: int) -> tuple[Planes, bytes, dict[str, Any], tuple[str, ...]]:
    """Read the primary image of a HEIC file, upright, with its metadata.

    Args:
        data: content of the file.
        name: for error messages.
        max_pixels: larger images are refused before decoding.

    Returns:
        colours and alpha of 8 bits, or of 16 if the file has more than 8; EXIF data; ``colour_tags`` and, if present,
        ``icc_profile`` and ``xmp``; notes on dropped data.

    Raises:
        ImageFileError: damaged, too large, or pillow-heif is not installed.
    """
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise ImageFileError(f'{name}: to read HEIC files, {INSTALL}') from error
    try:
        images: Any = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        image = images[images.primary_index]
        if image.size[0] * image.size[1] > max_pixels:
            raise too_many_pixels(name, max_pixels)
        pixels = np.asarray(image)
        pillow_heif.set_orientation(image.info)  # resets it: the image is already upright
    except ImageFileError:
        raise
    except Exception as error:
        raise ImageFileError(f'{name}: damaged, or an unsupported kind of HEIC ({error})') from error
    colour, alpha = split_alpha(pixels)
    if alpha is not None and image.premultiplied_alpha:
        colour = divided_by_alpha(colour, alpha)
    info = image.info
    tags = info.get('nclx_profile') or {}
    more = {key: info[key] for key in ('icc_profile', 'xmp') if info.get(key)}
    more['colour_tags'] = ColourTags(tags.get('color_primaries', 1), tags.get('transfer_characteristics', 13))
    notes = {
        GAIN_MAP_NOTE: 'hdrgainmap' in ' '.join(map(str, info.get('aux') or {})),
        DEPTH_MAP_NOTE: info.get('depth_images'),
        f'only the main one of its {len(images)} images is used': len(images) > 1,
    }
    return Planes(colour, alpha), info.get('exif') or b'', more, tuple(note for note, holds in notes.items() if holds)


def suffix_of_heic(path: Path) -> str:
    """Return the extension of a HEIC file's result: ``.png`` if JPEG does not support it (bits, HDR, transparency)."""
    try:
        with path.open('rb') as file:
            head = file.read(_HEAD)
    except OSError:
        return '.jpg'
    tags = read_colour_tags(head)
    return '.png' if tags.bits > 8 or tags.is_hdr or any(mark in head for mark in _ALPHA) else '.jpg'
