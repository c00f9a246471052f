"""Convert the samples of a TIFF page to gray or RGB values with alpha."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from basicsr.images.arrays import Array
from basicsr.images.pixels import BILEVEL_NOTE, PALETTE_NOTE, WITHOUT_PROFILE, Planes, divided_by_alpha, planes_of_pil
from basicsr.utils.errors import ImageFileError

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}  # photometric interpretation: samples of the colours
_UNSIGNED = (1, 4)  # sample formats: unsigned, undefined
_ASSOCIATED, _STRAIGHT = 1, 2  # extra samples
_INK_SET, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE, _PROFILE = 332, 529, 530, 532, 34675
_JPEG, _FAX = (6, 7), (2, 3, 4)  # compressions


def require_supported(page: Any, name: str) -> None:
    """Refuse a page whose samples cannot be converted to gray or RGB of 8 or 16 bits.

    Args:
        page: of tifffile.
        name: for the error message.

    Raises:
        ImageFileError: names the samples of the page.
    """
    kind = page.sampleformat if isinstance(page.sampleformat, int) else max(page.sampleformat)
    bits = page.bitspersample
    if page.dtype is None or not isinstance(bits, int):
        held = f'samples of {bits} bits'
    elif kind not in _UNSIGNED or bits > 16:
        held = f'{page.dtype} values'
    elif page.photometric not in _COLOURS:
        held = f'colours of the kind {getattr(page.photometric, "name", page.photometric)}'
    elif page.samplesperpixel < _COLOURS[page.photometric]:
        held = f'{page.samplesperpixel} samples per pixel, but its colours need {_COLOURS[page.photometric]}'
    elif page.photometric == _CMYK and page.tags.valueof(_INK_SET, 1) != 1:
        held = 'inks other than cyan, magenta, yellow and black'
    else:
        return
    raise ImageFileError(f'{name}: contains {held}; save it as gray or RGB with unsigned samples of 8 or 16 bits')


def planes_of_page(page: Any, data: bytes, name: str) -> Planes:
    """Decode a page.

    Args:
        page: of tifffile, accepted by :func:`require_supported`.
        data: content of the file.
        name: for error messages.

    Raises:
        ImageFileError: it cannot be decoded.
        Exception: the decoders raise errors of many types.
    """
    subsampling = tuple(map(int, page.tags.valueof(_SUBSAMPLING, (2, 2))))
    if page.photometric == _YCBCR and page.compression not in _JPEG and subsampling != (1, 1):
        return Planes(_by_libtiff(page, data, name), note='YCbCr converted to RGB', keeps_profile=False)
    if page.compression in _FAX and page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        gray = np.ascontiguousarray(_by_libtiff(page, data, name)[..., :1])
        return Planes(gray, note=BILEVEL_NOTE)
    samples, bits = _samples(page), page.bitspersample
    count = _COLOURS[page.photometric]
    colour = samples[..., :count]
    alpha, associated, notes = _alpha(page, samples[..., count:])
    alpha = None if alpha is None else np.ascontiguousarray(_whole_bytes(alpha, bits))
    if page.photometric == _PALETTE:
        colour = _of_palette(page, colour[..., 0])
        notes.append(PALETTE_NOTE)
    else:
        colour = _whole_bytes(colour, bits)
        if page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and bits not in (8, 16):
            target = '8-bit gray' if colour.shape[2] == 1 and bits < 8 else f'{8 if bits < 8 else 16} bits'
            notes.append(f'{"black and white" if bits == 1 else f"{bits} bits"} converted to {target}')
    if page.photometric == _WHITE_IS_ZERO:
        colour = np.iinfo(colour.dtype).max - colour
    if associated and alpha is not None:
        colour = divided_by_alpha(colour, alpha)
    note, keeps_profile = '', True
    if page.photometric == _CMYK:
        colour, note = _from_cmyk(page, colour)
    elif page.photometric in (_LAB, _ICC_LAB):
        colour, note = _from_lab(colour, page.photometric == _LAB), 'Lab converted to RGB'
    elif page.photometric == _YCBCR and page.compression not in _JPEG:  # whose decoder returns RGB
        colour, note = _from_ycbcr(page, colour), 'YCbCr converted to RGB'
    if note:
        notes, keeps_profile = [*notes, note], False
    return Planes(np.ascontiguousarray(colour), alpha, '; '.join(notes), keeps_profile)


def _samples(page: Any) -> Array:
    """Return (H, W, samples), uint8 or uint16."""
    separate, _, height, width, together = page.shaped
    planes = page.asarray().reshape(separate, height, width, together)
    samples = planes[0] if separate == 1 else planes[..., 0].transpose(1, 2, 0)
    return np.asarray(samples.astype(np.uint8) if samples.dtype == np.bool_ else samples)


def _alpha(page: Any, extra: Array) -> tuple[Array | None, bool, list[str]]:
    """Return the transparency among the extra samples, whether colours are premultiplied, and notes on the others."""
    if not extra.shape[2]:
        return None, False, []
    kinds, notes = [int(kind) for kind in page.extrasamples], []
    if not kinds:  # OpenCV writes such files
        kinds, notes = [_STRAIGHT], ['its extra channel is not specified; used as transparency']
    place = next((index for index, kind in enumerate(kinds) if kind in (_ASSOCIATED, _STRAIGHT)), None)
    if dropped := extra.shape[2] - (place is not None):
        notes.append(f'extra channels that are not transparency are dropped: {dropped}')
    if place is None:
        return None, False, notes
    return extra[..., place : place + 1], kinds[place] == _ASSOCIATED, notes


def _whole_bytes(values: Array, bits: int) -> Array:
    """Convert samples of any number of bits to 8 or 16 bits; white stays white."""
    if bits in (8, 16):
        return values
    white, kind = (255, np.uint8) if bits < 8 else (65535, np.uint16)
    table = np.round(np.arange(2**bits) * (white / (2**bits - 1)))
    return np.asarray(table.astype(kind)[values])


def _of_palette(page: Any, indices: Array) -> Array:
    colours = np.asarray(page.colormap)  # (3, 2^bits) of 16 bits
    table = (colours if colours.max(initial=0) < 256 else colours >> 8).astype(np.uint8)
    return np.ascontiguousarray(table.T)[indices]


def _from_cmyk(page: Any, colour: Array) -> tuple[Array, str]:
    """Convert CMYK to RGB; 8 bits by the colour profile."""
    profile, note = page.tags.valueof(_PROFILE), ''
    if colour.dtype == np.uint16:
        if profile is None:
            light = (65535 - colour).astype(np.uint32)
            rgb = (light[..., :3] * light[..., 3:] + 32767) // 65535
            return rgb.astype(np.uint16), f'CMYK converted to RGB {WITHOUT_PROFILE}'
        colour, note = (colour >> 8).astype(np.uint8), '16 bits converted to 8; '
    image = Image.frombytes('CMYK', colour.shape[1::-1], colour.tobytes())
    image.info['icc_profile'] = bytes(profile or b'')
    planes = planes_of_pil(image)
    return planes.colour, note + planes.note


def _from_lab(colour: Array, signed: bool) -> Array:
    """Convert CIE L*a*b* (D50) to sRGB of the same depth; a and b are signed, or have an offset of half the range."""
    import imagecodecs

    white = np.iinfo(colour.dtype).max
    colour = colour ^ np.array([0, *(2 * [(white + 1) // 2 if signed else 0])], colour.dtype)
    if white == 65535:  # a and b are in units of 1/256, littlecms has 257 to a unit; so has L of ICC's encoding
        scale = 65535 / 65280
        wide = colour * np.array([1.0 if signed else scale, 257 / 256, 257 / 256])
        colour = wide.round().clip(0, white).astype(np.uint16)
    profiles = (ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for kind in ('LAB', 'sRGB'))
    form: Any = {'colorspace': 'lab', 'outcolorspace': 'rgb', 'outdtype': colour.dtype.str}
    return np.asarray(imagecodecs.cms_transform(colour, *profiles, **form))


def _from_ycbcr(page: Any, colour: Array) -> Array:
    """Convert YCbCr to RGB (TIFF 6.0, section 21)."""
    white = float(np.iinfo(colour.dtype).max)
    half = (white + 1) / 2
    red, green, blue = _ratios(page, _COEFFICIENTS, (0.299, 0.587, 0.114))
    low, high = np.reshape(_ratios(page, _REFERENCE, (0, white, half, white, half, white)), (3, 2)).T
    y, b, r = np.moveaxis((colour - low) * (np.array([white, white - half, white - half]) / (high - low)), 2, 0)
    red_plane, blue_plane = y + (2 - 2 * red) * r, y + (2 - 2 * blue) * b
    planes = [red_plane, (y - red * red_plane - blue * blue_plane) / green, blue_plane]
    return np.asarray(np.stack(planes, 2).round().clip(0, white), colour.dtype)


def _by_libtiff(page: Any, data: bytes, name: str) -> Array:
    """Decode to RGB through OpenCV: subsampled YCbCr, and fax, which not every tifffile reads."""
    if page.index != 0:  # OpenCV would take the first
        raise ImageFileError(f'{name}: its compression is only supported on the first page')
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageFileError(f'{name}: damaged, or of an unsupported compression; save it as gray or RGB')
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _ratios(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of a tag of rationals, which tifffile stores as numerators and denominators."""
    value = page.tags.valueof(tag)
    if value is None or len(value) != 2 * len(default):
        return default
    return tuple(value[i] / value[i + 1] for i in range(0, len(value), 2))
