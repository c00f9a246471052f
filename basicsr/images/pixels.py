"""Convert Pillow images to arrays of gray or RGB values with alpha, and back."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from basicsr.images.arrays import Array
from basicsr.utils.errors import ImageFileError

WITHOUT_PROFILE = 'without a colour profile: its colours may be off'
"""The end of a note on colours converted without a profile."""
PALETTE_NOTE, BILEVEL_NOTE = 'palette converted to RGB', 'black and white converted to 8-bit gray'
"""Notes on other conversions."""

# Pillow's modes: the mode of the result
_TARGETS = {mode: mode for mode in ('L', 'LA', 'RGB', 'RGBA')}
_TARGETS |= {'1': 'L', 'P': 'RGB', 'PA': 'RGBA', 'La': 'LA', 'RGBa': 'RGBA', 'RGBX': 'RGB'}
_NOTES = {'1': BILEVEL_NOTE, 'P': PALETTE_NOTE, 'PA': PALETTE_NOTE}


@dataclass(frozen=True)
class Planes:
    """Colours and transparency of an image.

    Args:
        colour: (H, W, 1) gray or (H, W, 3) RGB, uint8 or uint16.
        alpha: (H, W, 1) of the same dtype, 0 is transparent; None without transparency.
        note: the conversions made, in words; empty if there were none.
        keeps_profile: the image's ICC profile still describes the colours.
    """

    colour: Array
    alpha: Array | None = None
    note: str = ''
    keeps_profile: bool = True


def planes_of_pil(image: Image.Image) -> Planes:
    """Convert a Pillow image.

    Gray and RGB are kept, with or without alpha. Palettes become RGB (with alpha if they have transparent colours),
    black and white becomes 8-bit gray, CMYK, YCbCr, Lab and HSV become RGB: CMYK by its colour profile if it has one.

    Args:
        image: is not changed.

    Raises:
        ImageFileError: the values have neither 8 nor 16 bits.
        OSError: Pillow cannot decode its file.
    """
    mode = image.mode
    if target := _TARGETS.get(mode):
        if 'transparency' in image.info and mode in ('L', 'P', 'RGB'):
            target += 'A'
        pixels = np.asarray(image if target == mode else image.convert(target))
        return Planes(*split_alpha(pixels), _NOTES.get(mode, ''))
    if mode in ('CMYK', 'YCbCr', 'HSV', 'LAB'):
        colour, how = _to_rgb(image)
        return Planes(colour, note=f'{"Lab" if mode == "LAB" else mode} converted to RGB{how}', keeps_profile=False)
    values = np.asarray(image)
    if mode.startswith('I') and (not values.size or (values.min() >= 0 and values.max() <= 65535)):
        return Planes(values.astype(np.uint16)[..., None])
    held = '32-bit values' if mode.startswith('I') else f'values of mode {mode!r}'
    raise ImageFileError(f'contains {held}; only 8- and 16-bit images are supported')


def pil_of(colour: Array, alpha: Array | None = None) -> Image.Image:
    """Return a Pillow image of (H, W, 1) or (H, W, 3) and alpha (H, W, 1); uint8, or uint16 for gray without alpha.

    Raises:
        ImageFileError: 16-bit colours, which Pillow does not support.
    """
    if colour.dtype == np.uint16 and (colour.shape[2] > 1 or alpha is not None):
        raise ImageFileError('Pillow does not support 16-bit colours')
    return Image.fromarray(joined(colour, alpha))


def joined(colour: Array, alpha: Array | None) -> Array:
    """Return colours (H, W, 1 or 3) and alpha (H, W, 1) as one array (H, W) or (H, W, 2 to 4)."""
    planes = colour if alpha is None else np.concatenate([colour, alpha], 2)
    return np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes)


def split_alpha(pixels: Array) -> tuple[Array, Array | None]:
    """Split (H, W) or (H, W, 1 to 4) into colours (H, W, 1 or 3) and alpha (H, W, 1); None for 1 or 3 channels."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] in (2, 4):
        return np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1:])
    return np.ascontiguousarray(pixels), None


def divided_by_alpha(colour: Array, alpha: Array) -> Array:
    """Convert premultiplied colours to straight ones; invisible pixels become black.

    Args:
        colour: (H, W, C), uint8 or uint16.
        alpha: (H, W, 1) of the same dtype.
    """
    white = int(np.iinfo(colour.dtype).max)
    divisor = np.maximum(alpha, 1).astype(np.uint32)  # 65535 squared fits
    straight = (colour.astype(np.uint32) * white + divisor // 2) // divisor
    return np.where(alpha > 0, straight.clip(0, white), 0).astype(colour.dtype)


def _to_rgb(image: Image.Image) -> tuple[Array, str]:
    """Return RGB, and the end of the note: CMYK is converted by the image's profile, Lab by the standard one."""
    profile = image.info.get('icc_profile') if image.mode == 'CMYK' else None
    if profile or image.mode == 'LAB':
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)) if profile else ImageCms.createProfile('LAB')
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile('sRGB'), outputMode='RGB')
            return np.asarray(converted), ' by its colour profile' if profile else ''
        except (ImageCms.PyCMSError, OSError):  # a damaged profile is ignored
            pass
    return np.asarray(image.convert('RGB')), f' {WITHOUT_PROFILE}' if image.mode == 'CMYK' else ''
