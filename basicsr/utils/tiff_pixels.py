"""Turn the samples of a TIFF page into gray or RGB values beside their transparency."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageCms

from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import Array
from basicsr.utils.pixels import WITHOUT_PROFILE, Planes, divided_by_alpha, planes_of

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB, _ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3, 9: 3}  # photometric interpretation: samples of the colours
_UNSIGNED = (1, 4)  # sample formats: unsigned, undefined
_ASSOCIATED, _STRAIGHT = 1, 2  # extra samples
_INK_SET, _COLOUR_MAP, _COEFFICIENTS, _SUBSAMPLING, _REFERENCE, _PROFILE = 332, 320, 529, 530, 532, 34675
_JPEG, _FAX = (6, 7), (2, 3, 4)  # compressions


def require_known(page: Any, name: str) -> None:
    """Refuse a page whose samples cannot be shown faithfully.

    Args:
        page: of tifffile.
        name: for the message.

    Raises:
        ImageFileError: the message names what the page holds.
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
        held = f'{page.samplesperpixel} samples a pixel where its colours need {_COLOURS[page.photometric]}'
    elif page.photometric == _CMYK and _value(page, _INK_SET, 1) != 1:
        held = 'inks other than cyan, magenta, yellow and black'
    else:
        return
    raise ImageFileError(f'{name}: holds {held}; save it as gray or RGB with unsigned samples of 8 or 16 bits')


def planes_of_samples(page: Any, data: bytes, name: str) -> Planes:
    """Decode a page.

    Args:
        page: of tifffile, which :func:`require_known` has let through.
        data: the whole content of the file.
        name: for messages.

    Raises:
        ImageFileError: it cannot be decoded.
        Exception: of the decoder; they are of many types.
    """
    if page.photometric == _YCBCR and page.compression not in _JPEG and _subsampling(page) != (1, 1):
        return Planes(_by_libtiff(page, data, name), note='YCbCr became RGB', keeps_profile=False)
    if page.compression in _FAX and page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        gray = np.ascontiguousarray(_by_libtiff(page, data, name)[..., :1])
        return Planes(gray, note='black and white became 8-bit gray')
    samples = _samples(page)
    count = _COLOURS[page.photometric]
    colour, extra = samples[..., :count], samples[..., count:]
    alpha, associated, notes = _alpha(page, extra)
    bits = page.bitspersample
    if page.photometric == _PALETTE:
        colour, alpha = _of_palette(page, colour[..., 0]), None if alpha is None else _whole_bytes(alpha, bits)
        notes.append('a palette became RGB')
    else:
        colour, alpha = _whole_bytes(colour, bits), None if alpha is None else _whole_bytes(alpha, bits)
        if page.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) and bits not in (8, 16):
            became = '8-bit gray' if colour.shape[2] == 1 and bits < 8 else f'{8 if bits < 8 else 16} bits'
            notes.append(f'{"black and white" if bits == 1 else f"{bits} bits"} became {became}')
    if page.photometric == _WHITE_IS_ZERO:
        colour = np.iinfo(colour.dtype).max - colour
    if associated and alpha is not None:
        colour = divided_by_alpha(colour, alpha)
    keeps_profile = True
    if page.photometric in (_CMYK, _LAB, _ICC_LAB, _YCBCR):
        colour, note, keeps_profile = _rgb_of(page, colour)
        notes += [note] if note else []
    alpha = None if alpha is None else np.ascontiguousarray(alpha)
    return Planes(np.ascontiguousarray(colour), alpha, '; '.join(notes), keeps_profile)


def _samples(page: Any) -> Array:
    """(H, W, samples), uint8 or uint16."""
    separate, _, height, width, together = page.shaped
    planes = page.asarray().reshape(separate, height, width, together)
    samples = planes[0] if separate == 1 else planes[..., 0].transpose(1, 2, 0)
    return np.asarray(samples.astype(np.uint8) if samples.dtype == np.bool_ else samples)


def _alpha(page: Any, extra: Array) -> tuple[Array | None, bool, list[str]]:
    """The transparency among the extra samples, whether colours were multiplied by it, and notes about the others."""
    if not extra.shape[2]:
        return None, False, []
    kinds = [int(kind) for kind in page.extrasamples]
    if not kinds:  # OpenCV writes such files
        kinds = [_STRAIGHT]
        notes = ['its file does not say what the extra channel is; taken for transparency']
    else:
        notes = []
    place = next((index for index, kind in enumerate(kinds) if kind in (_ASSOCIATED, _STRAIGHT)), None)
    left_out = extra.shape[2] - (place is not None)
    if left_out:
        notes.append(f'extra channels that are not transparency are left out: {left_out}')
    if place is None:
        return None, False, notes
    return extra[..., place : place + 1], kinds[place] == _ASSOCIATED, notes


def _whole_bytes(values: Array, bits: int) -> Array:
    """Samples of any number of bits, white staying white, in 8 or 16 bits."""
    if bits in (8, 16):
        return values
    white, kind = (255, np.uint8) if bits < 8 else (65535, np.uint16)
    table = np.round(np.arange(2**bits) * (white / (2**bits - 1)))
    return np.asarray(table.astype(kind)[values])


def _of_palette(page: Any, indices: Array) -> Array:
    colours = np.asarray(page.colormap)  # (3, 2^bits) of 16 bits
    table = (colours if colours.max(initial=0) < 256 else colours >> 8).astype(np.uint8)
    return np.ascontiguousarray(table.T)[indices]


def _rgb_of(page: Any, colour: Array) -> tuple[Array, str, bool]:
    """Colours of another kind as RGB; the note says how, the flag whether the profile still speaks of them."""
    if page.photometric == _YCBCR:
        if page.compression in _JPEG:  # its decoder gives RGB
            return colour, '', True
        return _rgb_of_ycbcr(page, colour), 'YCbCr became RGB', False
    if page.photometric in (_LAB, _ICC_LAB):
        return _rgb_of_lab(colour, page.photometric == _LAB), 'Lab became RGB', False
    profile, note = page.tags.get(_PROFILE), ''
    if colour.dtype == np.uint16:
        if profile is None:
            light = (65535 - colour).astype(np.uint32)
            rgb = (light[..., :3] * light[..., 3:] + 32767) // 65535
            return rgb.astype(np.uint16), f'CMYK became RGB {WITHOUT_PROFILE}', False
        colour, note = (colour >> 8).astype(np.uint8), '16 bits became 8; '
    image = Image.frombytes('CMYK', colour.shape[1::-1], colour.tobytes())
    if profile is not None:
        image.info['icc_profile'] = bytes(profile.value)
    planes = planes_of(image)
    return planes.colour, note + planes.note, False


def _rgb_of_lab(colour: Array, signed: bool) -> Array:
    """CIE L*a*b* (D50) as sRGB of as many bits; a and b are signed or have an offset of half the range."""
    import imagecodecs

    white = np.iinfo(colour.dtype).max
    colour = colour ^ np.array([0, *(2 * [(white + 1) // 2 if signed else 0])], colour.dtype)
    if white == 65535:  # a and b are in units of 1/256, littlecms has 257 to a unit; so has L of ICC's encoding
        scale = 65535 / 65280
        wide = colour * np.array([1.0 if signed else scale, 257 / 256, 257 / 256])
        colour = wide.round().clip(0, white).astype(np.uint16)
    profiles = (ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for kind in ('LAB', 'sRGB'))
    kind: Any = colour.dtype.str
    return np.asarray(
        imagecodecs.cms_transform(colour, *profiles, colorspace='lab', outcolorspace='rgb', outdtype=kind)
    )


def _rgb_of_ycbcr(page: Any, colour: Array) -> Array:
    """TIFF 6.0, section 21."""
    white = float(np.iinfo(colour.dtype).max)
    red, green, blue = _ratios(page, _COEFFICIENTS, (0.299, 0.587, 0.114))
    half = (white + 1) / 2
    low_y, high_y, low_b, high_b, low_r, high_r = _ratios(page, _REFERENCE, (0, white, half, white, half, white))
    y, b, r = np.moveaxis(colour.astype(np.float64), 2, 0)
    y = (y - low_y) * white / (high_y - low_y)
    b, r = ((v - low) * (white - half) / (high - low) for v, low, high in ((b, low_b, high_b), (r, low_r, high_r)))
    red_plane, blue_plane = y + (2 - 2 * red) * r, y + (2 - 2 * blue) * b
    planes = [red_plane, (y - red * red_plane - blue * blue_plane) / green, blue_plane]
    return np.asarray(np.stack(planes, 2).round().clip(0, white), colour.dtype)


def _by_libtiff(page: Any, data: bytes, name: str) -> Array:
    """RGB of what tifffile does not read: YCbCr with fewer colours than pixels; fax, without its latest versions."""
    if page.index != 0:  # OpenCV would take the first
        raise ImageFileError(f'{name}: its image is compressed in a way that is only read on the first page')
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ImageFileError(f'{name}: damaged, or compressed in a way that is not read; save it as gray or RGB')
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def _subsampling(page: Any) -> tuple[int, int]:
    across, down = _value(page, _SUBSAMPLING, (2, 2))
    return int(across), int(down)


def _value(page: Any, tag: int, default: Any) -> Any:
    found = page.tags.get(tag)
    return default if found is None else found.value


def _ratios(page: Any, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The values of a tag of rationals, which tifffile gives as numerators and denominators."""
    value = _value(page, tag, None)
    if value is None or len(value) != 2 * len(default):
        return default
    return tuple(value[i] / value[i + 1] for i in range(0, len(value), 2))
