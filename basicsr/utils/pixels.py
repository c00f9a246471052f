"""What a Pillow picture shows, as an array of gray or RGB values beside its transparency, and back."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import Array

WITHOUT_PROFILE = 'without a colour profile: its colours may be off'
"""How colours were converted that no profile describes."""


@dataclass(frozen=True)
class Planes:
    """The colours of a picture, and what else it has.

    Args:
        colour: (H, W, 1) gray or (H, W, 3) RGB, uint8 or uint16.
        alpha: (H, W, 1) of the same dtype, opaque is white; None without transparency.
        note: what had to be converted, in words; empty if nothing was.
        keeps_profile: the colours still are those that its ICC profile speaks of.
    """

    colour: Array
    alpha: Array | None = None
    note: str = ''
    keeps_profile: bool = True


def planes_of(image: Image.Image) -> Planes:
    """The pixels of a Pillow picture.

    Gray and RGB stay what they are, with or without alpha. Palettes become RGB (with alpha if they have transparent
    colours), black and white becomes 8-bit gray, CMYK, YCbCr, Lab and HSV become RGB: CMYK by its colour profile if it
    has one.

    Args:
        image: loaded or not; left as it is.

    Raises:
        ImageFileError: its values are neither 8 nor 16 bits.
        OSError: its file cannot be decoded (Pillow).
    """
    mode = image.mode
    if mode == 'P' or (mode in ('L', 'RGB') and 'transparency' in image.info):
        clear = 'A' if 'transparency' in image.info else ''
        image = image.convert(('RGB' if mode == 'P' else mode) + clear)
        return _split(np.asarray(image), 'a palette became RGB' if mode == 'P' else '')
    if mode in ('L', 'LA', 'RGB', 'RGBA'):
        return _split(np.asarray(image))
    if mode in ('PA', 'La', 'RGBa', 'RGBX'):
        target = {'PA': 'RGBA', 'La': 'LA', 'RGBa': 'RGBA', 'RGBX': 'RGB'}[mode]
        return _split(np.asarray(image.convert(target)), 'a palette became RGB' if mode == 'PA' else '')
    if mode == '1':
        return _split(np.asarray(image.convert('L')), 'black and white became 8-bit gray')
    if mode == 'CMYK':
        colour, how = _rgb_of_cmyk(image)
        return Planes(colour, note=f'CMYK became RGB {how}', keeps_profile=False)
    if mode in ('YCbCr', 'HSV'):
        return Planes(np.asarray(image.convert('RGB')), note=f'{mode} became RGB', keeps_profile=False)
    if mode == 'LAB':
        return Planes(_rgb_of_lab(image), note='Lab became RGB', keeps_profile=False)
    if mode.startswith('I'):
        values = np.asarray(image)
        if not values.size or (values.min() >= 0 and values.max() <= 65535):
            return Planes(values.astype(np.uint16)[..., None])
        raise ImageFileError('holds 32-bit values; only 8- and 16-bit pictures are deblurred')
    raise ImageFileError(f'holds values of the kind {mode!r}; only 8- and 16-bit pictures are deblurred')


def pil_of(colour: Array, alpha: Array | None = None) -> Image.Image:
    """A Pillow picture of (H, W, 1) or (H, W, 3) and (H, W, 1) alpha; uint8, or uint16 for gray without alpha.

    Raises:
        ImageFileError: 16-bit colours, which Pillow cannot hold.
    """
    if colour.dtype == np.uint16 and (colour.shape[2] > 1 or alpha is not None):
        raise ImageFileError('Pillow holds no 16-bit colours')
    planes = colour if alpha is None else np.concatenate([colour, alpha], 2)
    return Image.fromarray(np.ascontiguousarray(planes[..., 0] if planes.shape[2] == 1 else planes))


def split_alpha(pixels: Array) -> tuple[Array, Array | None]:
    """Colours (H, W, 1 or 3) and alpha (H, W, 1) of (H, W) or (H, W, 1 to 4); None for 1 or 3 channels."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[2] in (2, 4):
        return np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1:])
    return np.ascontiguousarray(pixels), None


def divided_by_alpha(colour: Array, alpha: Array) -> Array:
    """Colours that were multiplied by their alpha, as they were before; black where nothing is visible.

    Args:
        colour: (H, W, C), uint8 or uint16.
        alpha: (H, W, 1) of the same dtype.
    """
    white = int(np.iinfo(colour.dtype).max)
    divisor = np.maximum(alpha, 1).astype(np.uint32)  # 65535 squared fits
    straight = (colour.astype(np.uint32) * white + divisor // 2) // divisor
    return np.where(alpha > 0, straight.clip(0, white), 0).astype(colour.dtype)


def _split(pixels: Array, note: str = '') -> Planes:
    return Planes(*split_alpha(pixels), note)


def _rgb_of_cmyk(image: Image.Image) -> tuple[Array, str]:
    profile = image.info.get('icc_profile')
    if profile:
        try:
            converted = ImageCms.profileToProfile(
                image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile('sRGB'), outputMode='RGB'
            )
            if converted is not None:
                return np.asarray(converted), 'by its colour profile'
        except (ImageCms.PyCMSError, OSError):  # a damaged profile is like none
            pass
    return np.asarray(image.convert('RGB')), WITHOUT_PROFILE


def _rgb_of_lab(image: Image.Image) -> Array:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB'), outputMode='RGB'
    )
    assert converted is not None  # noqa: S101 - None only for inPlace
    return np.asarray(converted)
