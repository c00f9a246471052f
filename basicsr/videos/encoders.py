"""Choose the encoder of a video: H.264, HEVC for more than 8 bits, or MPEG-4 if the installed PyAV has no H.264."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from basicsr.utils.errors import ImageFileError
from basicsr.videos.colours import TRANSFERS
from basicsr.videos.info import VideoInfo
from basicsr.videos.reader import load_av

_QUALITY = {'crf': '12', 'preset': 'medium', 'tune': 'psnr'}  # the highest PSNR, not the best look
_MPEG4_QUALITY = {'flags': '+qscale', 'global_quality': str(2 * 118), 'bf': '0'}  # the same on its scale
_LEAST_FOR_HEVC = 64  # pixels: x265 refuses smaller frames


@dataclass(frozen=True)
class Encoder:
    """An encoder with its settings.

    Args:
        name: its name in FFmpeg.
        given: pixel format of its input, planar Y, Cb, Cr.
        written: pixel format of the file.
        bits: bits of a value in both.
        options: options in FFmpeg.
        tag: codec tag in MP4 and MOV.
        counts_frames: it does not support fine times: frames are numbered, and keep their order.
        notes: differences from the source, in words.
    """

    name: str
    given: str
    written: str
    bits: int
    options: Mapping[str, str] = field(default_factory=dict)
    tag: str = ''
    counts_frames: bool = False
    notes: tuple[str, ...] = ()


def formats_of(encoder: str) -> frozenset[str]:
    """Return the pixel formats of an encoder; empty if the installed PyAV does not have it."""
    av = load_av()
    try:
        return frozenset(kind.name for kind in av.Codec(encoder, 'w').video_formats or ())
    except (ValueError, av.error.FFmpegError):
        return frozenset()


def encoder_for(info: VideoInfo, container: str) -> Encoder:
    """Choose the encoder of a video.

    Args:
        info: properties of the source.
        container: ``mp4``, ``mov``, ``matroska`` or ``avi``; AVI supports neither HEVC nor frames out of order.

    Raises:
        ImageFileError: HDR without an encoder of 10 bits.
    """
    layout = info.layout
    hdr = TRANSFERS.get(layout.colours.transfer)
    plain = f'yuv{layout.sampling}p'
    in_order = {'bf': '0'} if container == 'avi' else {}
    notes: tuple[str, ...] = ()
    if layout.bits > 8 or hdr:
        deep = f'{plain}10le'
        names = ['libx264'] if container == 'avi' or min(info.size) < _LEAST_FOR_HEVC else ['libx265', 'libx264']
        name = next((name for name in names if deep in formats_of(name)), None)
        if name is None and hdr:
            raise ImageFileError(f'HDR ({hdr}) needs an encoder of 10 bits: run `pip install --only-binary av av`')
        if name is not None:
            codec = 'HEVC' if name == 'libx265' else 'H.264'
            what = f'HDR ({hdr})' if hdr else f'{min(layout.bits, 10)} bits'
            notes = (f'{what} kept, as {codec} of 10 bits',)
            if layout.bits > 10:
                notes += (f'{layout.bits} bits converted to 10',)
            if name == 'libx264':
                return Encoder(name, deep, deep, 10, {**_QUALITY, **in_order}, notes=notes)
            more = {'x265-params': f'log-level=none{info.light}'}
            return Encoder(name, deep, deep, 10, {**_QUALITY, **more}, 'hvc1', notes=notes)
        notes = (f'{layout.bits} bits converted to 8: the installed PyAV has no encoder for more',)
    if plain in formats_of('libx264'):
        order = {'field_order': 'bb' if info.fields == 'bottom' else 'tt'} if info.fields else {}
        return Encoder('libx264', plain, plain, 8, {**_QUALITY, **in_order, **order}, notes=notes)
    notes = (*notes, 'MPEG-4 in place of H.264: the installed PyAV has no libx264')
    if plain != 'yuv420p':
        notes = (*notes, 'chroma has half the width and height')
    return Encoder('mpeg4', plain, 'yuv420p', 8, _MPEG4_QUALITY, counts_frames=True, notes=notes)
