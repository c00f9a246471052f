"""Read the properties and planes of frames of PyAV."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.images.arrays import Array
from basicsr.utils.errors import ImageFileError
from basicsr.videos.colours import MATRICES, UNSTATED, Colours, PlaneLayout, planes_from_rgb
from basicsr.videos.display import display_of

_PLANAR = re.compile(r'yuv[aj]?(420|422|444)p(\d+le)?')
_DROPPED = {  # side data of HDR that the encoders do not write
    'DOVI_METADATA': 'Dolby Vision',
    'DOVI_RPU_BUFFER': 'Dolby Vision',
    'DYNAMIC_HDR_PLUS': 'HDR10+',
    'DYNAMIC_HDR_VIVID': 'HDR Vivid',
}


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video.

    Args:
        layout: layout of the planes.
        size: (H, W) of frames as stored.
        aspect: width of a pixel divided by its height; None if unspecified.
        display: display matrix, 3x3, as in FFmpeg; None if frames are upright.
        rate: mean number of frames per second.
        time_base: unit of all times, in seconds.
        frames: estimated number of frames; 0 if unknown.
        fields: ``top`` or ``bottom``, the first field of interlaced video; else empty.
        light: mastering display and light levels of HDR, as parameters of x265; empty if unspecified.
        notes: properties that are not kept, in words.
    """

    layout: PlaneLayout
    size: tuple[int, int]
    aspect: Fraction | None
    display: tuple[int, ...] | None
    rate: Fraction
    time_base: Fraction
    frames: int
    fields: str
    light: str
    notes: tuple[str, ...]


def info_of(path: Path, container: Any, stream: Any, stated: Colours, frame: Any) -> VideoInfo:
    """Read the properties of a video.

    Args:
        path: path of the file, for error messages.
        container: container of PyAV.
        stream: its video stream.
        stated: colour tags of the container, before a frame was decoded.
        frame: the first frame.

    Raises:
        ImageFileError: unsupported pixels or colours.
    """
    context = stream.codec_context
    layout = plane_layout_of(path, frame, stated)
    rate: Fraction = stream.average_rate or stream.guessed_rate or Fraction(25)
    rate = rate if 0 < rate <= 1000 else Fraction(25)
    seconds = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, 10**6)
    order = getattr(context, 'field_order', 0)  # PyAV before 18 does not know it
    bottom = order in (3, 5) or (not order and context.name == 'dvvideo')
    data = {entry.type.name: bytes(entry) for entry in frame.side_data}
    light = _mastering(data.get('MASTERING_DISPLAY_METADATA', b'')) + _levels(data.get('CONTENT_LIGHT_LEVEL', b''))
    aspect = stream.sample_aspect_ratio
    return VideoInfo(
        layout=layout,
        size=(frame.height, frame.width),
        aspect=aspect if aspect and aspect > 0 else None,
        display=display_of(data.get('DISPLAYMATRIX', b'')),
        rate=rate,
        time_base=stream.time_base,
        frames=stream.frames or max(0, round(seconds * rate)),
        fields=('bottom' if bottom else 'top') if frame.interlaced_frame else '',
        light=light,
        notes=_lost(path, frame, data, layout),
    )


def colours_of(source: Any) -> Colours:
    """Return the colour tags of a frame or a codec context of PyAV."""
    matrix, primaries, transfer = (
        UNSTATED if value == 3 else int(value)  # 3 is reserved
        for value in (source.colorspace, source.color_primaries, source.color_trc)
    )
    return Colours(matrix, primaries, transfer, int(source.color_range) if source.color_range in (1, 2) else 0)


def plane_layout_of(path: Path, frame: Any, stated: Colours) -> PlaneLayout:
    """Return the layout of the planes that :func:`planes_of_frame` returns.

    Args:
        path: path of the file, for error messages.
        frame: frame of PyAV.
        stated: tags of the container, for tags that the frame does not state.

    Raises:
        ImageFileError: unsupported pixels or colours.
    """
    kind = frame.format
    if kind.is_bayer or kind.name.startswith('xyz'):
        raise ImageFileError(f'{path}: the pixel format {kind.name} is not supported; convert it to RGB first')
    bits = min(max(8, *(part.bits for part in kind.components)), 16)
    colours = _colours(frame, stated)
    if is_rgb(kind):  # becomes limited Y, Cb, Cr of BT.709
        return PlaneLayout(bits, 1, 1, replace(colours, matrix=1, range=1), frame.height)
    if colours.matrix not in MATRICES:
        kind = f'{colours.matrix} in ITU-T H.273'
        raise ImageFileError(f'{path}: its colour matrix ({kind}) is not supported; convert it to BT.709 first')
    if len(kind.components) < 3:  # gray uses all values, unless it says otherwise
        return PlaneLayout(bits, 2, 2, replace(colours, range=colours.range or 2), frame.height)
    across, down = _sampling(kind)
    if down == 1:
        return PlaneLayout(bits, min(across, 2), 1, colours, frame.height)
    return PlaneLayout(bits, *((1, 1) if across == 1 else (2, 2)), colours, frame.height)


def planes_of_frame(frame: Any, layout: PlaneLayout) -> list[Array]:
    """Return Y, Cb, Cr of a frame of PyAV; RGB is converted, gray gets neutral chroma."""
    kind = frame.format
    deep = f'{layout.bits}le' if layout.bits > 8 else ''
    if is_rgb(kind):
        green, blue, red = _arrays(frame.reformat(format=f'gbrp{deep}'), 3, 1, 1)
        rgb = np.dstack([red, green, blue]).astype(np.float32) / (2**layout.bits - 1)
        return planes_from_rgb(rgb, layout)
    if len(kind.components) < 3:
        (luma,) = _arrays(frame.reformat(format=f'gray{deep}'), 1, 1, 1)
        chroma = np.full([(side + 1) // 2 for side in luma.shape], 1 << (layout.bits - 1), luma.dtype)
        return [luma, chroma, chroma]
    if not _PLANAR.fullmatch(kind.name) or _sampling(kind) != (layout.across, layout.down):
        frame = frame.reformat(format=f'yuv{layout.sampling}p{deep}')
    return _arrays(frame, 3, layout.across, layout.down)


def is_rgb(kind: Any) -> bool:
    """Whether a pixel format of PyAV contains red, green and blue, directly or by a palette."""
    return bool(kind.is_rgb or kind.has_palette or kind.name in ('monow', 'monob'))


def _colours(frame: Any, stated: Colours) -> Colours:
    said = colours_of(frame)
    values = {
        key: value if (value := getattr(said, key)) != UNSTATED else getattr(stated, key)
        for key in ('matrix', 'primaries', 'transfer')
    }
    if values['matrix'] == 0 and not is_rgb(frame.format):  # the matrix of RGB, stated for other pixels
        values['matrix'] = UNSTATED
    full = 2 if frame.format.name.startswith('yuvj') else 0
    return Colours(**values, range=full or said.range or stated.range)


def _sampling(kind: Any) -> tuple[int, int]:
    return 64 // kind.chroma_width(64), 64 // kind.chroma_height(64)


def _arrays(frame: Any, count: int, across: int, down: int) -> list[Array]:
    """Copy the first planes of a frame."""
    deep = max(part.bits for part in frame.format.components) > 8
    found = []
    for index, plane in zip(range(count), frame.planes, strict=False):
        stride = plane.line_size
        rows = np.frombuffer(plane, np.uint8).reshape(-1, abs(stride))[:: 1 if stride > 0 else -1]
        by = (1, 1) if index == 0 else (down, across)
        height, width = (-(-side // step) for side, step in zip((frame.height, frame.width), by, strict=True))
        found.append((rows.view('<u2') if deep else rows)[:height, :width].copy())
    return found


def _lost(path: Path, frame: Any, data: dict[str, bytes], layout: PlaneLayout) -> tuple[str, ...]:
    """Return notes on properties that are not kept."""
    notes = []
    if any(part.is_alpha for part in frame.format.components):
        notes.append('transparency is dropped')
    if is_rgb(frame.format):
        notes.append('RGB converted to Y, Cb and Cr of BT.709, without subsampling')
    if frame.interlaced_frame:
        notes.append('interlaced: each field was deblurred separately')
    names = dict.fromkeys(name for key, name in _DROPPED.items() if key in data)
    if 'Dolby Vision' in names and layout.colours.transfer == UNSTATED:
        raise ImageFileError(f'{path}: its colours need Dolby Vision (profile 5); convert it to HDR10 or BT.709 first')
    return (*notes, *(f'the metadata of {name} is dropped' for name in names))


def _mastering(data: bytes) -> str:
    """Convert ``AVMasteringDisplayMetadata`` of FFmpeg, ten rational numbers and two flags, to a parameter of x265."""
    if len(data) < 88 or not all(struct.unpack('=2i', data[80:88])):
        return ''
    pairs = struct.unpack('=20i', data[:80])
    values = [n / d if d else 0.0 for n, d in zip(pairs[::2], pairs[1::2], strict=True)]
    red, green, blue, white = ('({},{})'.format(*(round(v * 50000) for v in values[i : i + 2])) for i in (0, 2, 4, 6))
    darkest, brightest = (round(v * 10000) for v in values[8:10])
    return f':master-display=G{green}B{blue}R{red}WP{white}L({brightest},{darkest})'


def _levels(data: bytes) -> str:
    """Convert ``AVContentLightMetadata`` of FFmpeg, the brightest pixel and the brightest mean in cd/m², likewise."""
    return ':max-cll={},{}'.format(*struct.unpack('=2I', data[:8])) if len(data) >= 8 else ''
