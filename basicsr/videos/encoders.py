"""Which encoder writes a video: H.264, for more than 8 bits HEVC; MPEG-4 where the installed PyAV has no H.264."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from basicsr.utils.errors import ImageFileError
from basicsr.videos.colours import TRANSFERS
from basicsr.videos.facts import Facts
from basicsr.videos.reader import load_av

_QUALITY = {'crf': '12', 'preset': 'medium', 'tune': 'psnr'}  # the smallest differences, not the prettiest
_MPEG4_QUALITY = {'flags': '+qscale', 'global_quality': str(2 * 118), 'bf': '0'}  # the same on its scale
_LEAST_FOR_HEVC = 64  # pixels: x265 takes no smaller frames


@dataclass(frozen=True)
class Encoder:
    """What is to be written, and how.

    Args:
        name: of the encoder in FFmpeg.
        given: pixel format of the frames that it is given, planar Y, Cb, Cr.
        written: pixel format of the file.
        bits: of a value in both.
        options: of the encoder.
        tag: four letters by which players know it in MP4 and MOV.
        counts_frames: it takes no fine times and keeps the order of frames: it is given their numbers instead.
        notes: what is not as in the source, in words.
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
    """The pixel formats that an encoder takes; none if the installed PyAV does not have it."""
    av = load_av()
    try:
        return frozenset(kind.name for kind in av.Codec(encoder, 'w').video_formats or ())
    except (ValueError, av.error.FFmpegError):
        return frozenset()


def encoder_for(facts: Facts, container: str) -> Encoder:
    """The encoder of a video.

    Args:
        facts: what its frames have in common.
        container: ``mp4``, ``mov``, ``matroska`` or ``avi``; AVI holds no HEVC, and no frames out of order.

    Raises:
        ImageFileError: HDR, and no encoder for 10 bits.
    """
    layout = facts.layout
    hdr = TRANSFERS.get(layout.colours.transfer)
    plain = f'yuv{layout.sampling}p'
    in_order = {'bf': '0'} if container == 'avi' else {}
    notes: tuple[str, ...] = ()
    if layout.bits > 8 or hdr:
        deep = f'{plain}10le'
        names = ['libx264'] if container == 'avi' or min(facts.size) < _LEAST_FOR_HEVC else ['libx265', 'libx264']
        name = next((name for name in names if deep in formats_of(name)), None)
        if name is None and hdr:
            raise ImageFileError(
                f'HDR ({hdr}) takes an encoder for 10 bits, and the installed PyAV has neither libx265 nor such a '
                'libx264; the wheels of PyAV have both (pip install --only-binary av av)'
            )
        if name is not None:
            codec = 'HEVC' if name == 'libx265' else 'H.264'
            what = f'HDR ({hdr})' if hdr else f'{min(layout.bits, 10)} bits'
            notes = (f'{what} kept, as {codec} of 10 bits',)
            if layout.bits > 10:
                notes += (f'{layout.bits} bits became 10',)
            if name == 'libx264':
                return Encoder(name, deep, deep, 10, {**_QUALITY, **in_order}, notes=notes)
            more = {'x265-params': f'log-level=none{facts.light}'}
            return Encoder(name, deep, deep, 10, {**_QUALITY, **more}, 'hvc1', notes=notes)
        notes = (f'{layout.bits} bits became 8: the installed PyAV has no encoder for more',)
    if plain in formats_of('libx264'):
        order = {'field_order': 'bb' if facts.fields == 'bottom' else 'tt'} if facts.fields else {}
        return Encoder('libx264', plain, plain, 8, {**_QUALITY, **in_order, **order}, notes=notes)
    notes = (*notes, 'MPEG-4 in place of H.264: the installed PyAV has no libx264')
    if plain != 'yuv420p':
        notes = (*notes, 'chroma has half the width and height')
    return Encoder('mpeg4', plain, 'yuv420p', 8, _MPEG4_QUALITY, counts_frames=True, notes=notes)
