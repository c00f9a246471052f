"""Read HEIC files, which phones write, through pillow-heif (extra ``heic``)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.images.colour_tags import ColourTags, read_colour_tags
from basicsr.images.headers import too_many_pixels
from basicsr.images.pixels import Planes, divided_by_alpha, split_alpha
from basicsr.utils.errors import ImageFileError
from basicsr.utils.installation import pip_install

HEIC_SUFFIXES = ('.heic', '.heif')
"""What HEIC files are called, in lower case."""
INSTALL = f'run `{pip_install("heic")}` (or `pip install pillow-heif`), or save it as JPEG or PNG first'
"""How to read HEIC files."""

_ALPHA = (b'urn:mpeg:hevc:2015:auxid:1', b'urn:mpeg:mpegB:cicp:systems:auxiliary:alpha')
_HEAD = 2**16  # bytes in which a file describes its images


def read_heic(data: bytes, name: str, max_pixels: int) -> tuple[Planes, dict[str, Any], tuple[str, ...]]:
    """The primary image of a HEIC file, upright, and what the file says beside it.

    Args:
        data: the whole content.
        name: for messages.
        max_pixels: larger images are refused before they are decoded.

    Returns:
        colours and alpha of 8 bits, or of 16 where the file has more than 8; ``exif``, ``icc_profile``, ``xmp`` and
        ``colour_tags``, those that there are; what is left out, in words.

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
        pillow_heif.set_orientation(image.info)  # it has turned the image already
    except ImageFileError:
        raise
    except (ValueError, OSError, RuntimeError, EOFError, SyntaxError, MemoryError) as error:
        raise ImageFileError(f'{name}: damaged, or a kind of HEIC that is not read ({error})') from error
    colour, alpha = split_alpha(pixels)
    if alpha is not None and image.premultiplied_alpha:
        colour = divided_by_alpha(colour, alpha)
    more = {key: image.info[key] for key in ('exif', 'icc_profile', 'xmp') if image.info.get(key)}
    tags = image.info.get('nclx_profile') or {}
    more['colour_tags'] = ColourTags(tags.get('color_primaries', 1), tags.get('transfer_characteristics', 13))
    return Planes(colour, alpha), more, tuple(_left_out(images, image.info))


def suffix_of_heic(path: Path) -> str:
    """How the result of a HEIC file ends: ``.png`` where JPEG cannot hold it (more than 8 bits, HDR, transparency)."""
    try:
        with path.open('rb') as file:
            head = file.read(_HEAD)
    except OSError:
        return '.jpg'
    tags = read_colour_tags(head)
    return '.png' if tags.bits > 8 or tags.is_hdr or any(mark in head for mark in _ALPHA) else '.jpg'


def _left_out(images: Any, info: dict[str, Any]) -> list[str]:
    notes = []
    auxiliary = ' '.join(map(str, info.get('aux') or {}))
    if 'hdrgainmap' in auxiliary:
        notes.append('its HDR part (gain map) is left out')
    if info.get('depth_images'):
        notes.append('its depth map is left out')
    if len(images) > 1:
        notes.append(f'of its {len(images)} images the main one is taken')
    return notes
