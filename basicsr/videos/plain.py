"""Whether OpenCV alone does justice to a video: it keeps no stated colours, no times and no shapes of pixels."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from basicsr.utils.errors import ImageFileError
from basicsr.utils.installation import pip_install
from basicsr.videos.bits import Stated, read_h264, read_mpeg4
from basicsr.videos.colours import UNSTATED, Colours
from basicsr.videos.containers import Box, boxes, content, handler, inner_boxes, is_mp4

INSTALL = pip_install('video')
"""What installs PyAV."""

_MPEG4 = {b'mp4v', b'MP4V', b'FMP4', b'XVID', b'xvid', b'DIVX', b'divx', b'DX50'}
_JPEG = {b'MJPG', b'mjpg', b'jpeg'}
_BT601 = {UNSTATED, 5, 6}
_HD = 720  # rows from which on players take BT.709 where nothing is stated


class NotPlain(Exception):
    """What is special about a video, in words."""


def require_plain(source: Path, target: Path | None, aspect: tuple[float, float]) -> None:
    """Refuse a video that does not come out of OpenCV as it went in.

    What does: 8 bits, BT.601, square pixels, upright, one frame rate, a start at 0.

    Args:
        source: a whole file.
        target: where its result goes; OpenCV writes JPEG into AVI files, and MPEG-4 into others. None without one.
        aspect: width and height of a pixel by OpenCV; 0 where it does not know.

    Raises:
        ImageFileError: it is another one, or nobody can tell without PyAV.
    """
    try:
        if all(aspect) and aspect[0] != aspect[1]:
            raise NotPlain('its pixels are not square')
        with source.open('rb') as file:
            kind, height = _mp4(file, source.stat().st_size) if is_mp4(source) else _avi(file)
        if target is not None and height >= _HD and (kind in _JPEG) != (target.suffix.lower() == '.avi'):
            raise NotPlain('its colour matrix would change')
    except (NotPlain, ValueError, struct.error) as reason:
        raise ImageFileError(f'{source}: {reason}; such a video takes PyAV: run `{INSTALL}`') from reason


def _mp4(file: BinaryIO, size: int) -> tuple[bytes, int]:
    """The codec and the height of the only picture in an MP4 or MOV file that is plain."""
    moov = next((box for box in boxes(file, 0, size) if box.kind == b'moov'), None)
    if moov is None:
        raise NotPlain('no video that is known here')
    if inner_boxes(file, moov, b'mvex'):
        raise NotPlain('its times stand in fragments')
    tracks = [track for track in inner_boxes(file, moov, b'trak') if handler(file, track) == b'vide']
    if len(tracks) != 1:
        raise NotPlain(f'it holds {len(tracks)} videos')
    track = tracks[0]
    (header,) = inner_boxes(file, track, b'tkhd')
    head = content(file, header)
    start = 52 if head[0] else 40
    a, b, _, c, d = struct.unpack('>5i', head[start : start + 20])
    if (a, b, c, d) != (65536, 0, 0, 65536):
        raise NotPlain('it is rotated')
    for edits in inner_boxes(file, track, b'edts', b'elst'):
        _check_edits(content(file, edits))
    (times,) = inner_boxes(file, track, b'mdia', b'minf', b'stbl', b'stts')
    _check_times(content(file, times))
    (description,) = inner_boxes(file, track, b'mdia', b'minf', b'stbl', b'stsd')
    return _sample_entry(file, description)


def _check_edits(data: bytes) -> None:
    wide, count = data[0] == 1, int.from_bytes(data[4:8], 'big')
    if count != 1 or struct.unpack('>q' if wide else '>i', data[16:24] if wide else data[12:16])[0] < 0:
        raise NotPlain('it starts late, or is cut by an edit list')


def _check_times(data: bytes) -> None:
    runs = list(struct.iter_unpack('>II', data[8 : len(data) - len(data) % 8]))  # frames, and how long each stays
    if runs and runs[-1][0] == 1:
        runs = runs[:-1]  # the last frame may stay longer
    if len({step for _, step in runs}) > 1:
        raise NotPlain('its frame rate varies')


def _sample_entry(file: BinaryIO, description: Box) -> tuple[bytes, int]:
    entries = list(boxes(file, description.start + 8, description.end))
    if len(entries) != 1:
        raise NotPlain('it changes its coding')
    entry = entries[0]
    height = int.from_bytes(content(file, entry, 28)[26:28], 'big')
    inside = {box.kind: box for box in boxes(file, entry.start + 78, entry.end)}
    if b'pasp' in inside and len(set(struct.unpack('>2I', content(file, inside[b'pasp'])[:8]))) > 1:
        raise NotPlain('its pixels are not square')
    if b'clap' in inside:
        raise NotPlain('its frames are cropped for display')
    if b'colr' in inside:
        _check_colours(_colr(content(file, inside[b'colr'])), height)
    if entry.kind == b'avc1' and b'avcC' in inside:
        data = content(file, inside[b'avcC'])
        _check_stream(read_h264(data[8 : 8 + int.from_bytes(data[6:8], 'big')]), height)
    elif entry.kind in _MPEG4 and b'esds' in inside:
        _check_colours(read_mpeg4(content(file, inside[b'esds'])), height)
    elif entry.kind not in _JPEG:
        raise NotPlain(f'its codec ({_name(entry.kind)}) may hold more than 8 bits')
    return entry.kind, height


def _colr(data: bytes) -> Colours:
    if data[:4] not in (b'nclx', b'nclc') or len(data) < 10:
        raise NotPlain('it has a colour profile')
    primaries, transfer, matrix = struct.unpack('>3H', data[4:10])
    return Colours(matrix, primaries, transfer, 2 if data[:4] == b'nclx' and data[10:11] >= b'\x80' else 1)


def _check_stream(stated: Stated, height: int) -> None:
    if not stated.eight_bits:
        raise NotPlain('it has more than 8 bits, or other chroma than 4:2:0')
    if not stated.progressive:
        raise NotPlain('it is interlaced')
    if not stated.square:
        raise NotPlain('its pixels are not square')
    _check_colours(stated.colours, height)


def _check_colours(colours: Colours, height: int) -> None:
    """OpenCV writes limited BT.601 and states nothing."""
    told = {colours.matrix, colours.primaries, colours.transfer}
    if not told <= _BT601 or colours.range == 2 or (height >= _HD and told != {UNSTATED}):
        raise NotPlain('it states its colours')


def _avi(file: BinaryIO) -> tuple[bytes, int]:
    """The codec and the height of the only picture in an AVI file that is plain."""
    head = file.read(2**16)
    if head[:4] != b'RIFF' or head[8:12] != b'AVI ':
        raise NotPlain('nobody knows what it states')
    streams = [at + 8 for at in _found(head, b'strh')]
    videos = [number for number, at in enumerate(streams) if head[at : at + 4] == b'vids']
    if len(videos) != 1:
        raise NotPlain(f'it holds {len(videos)} videos')
    at = streams[videos[0]]
    form = head.find(b'strf', at)
    codec, height = head[form + 24 : form + 28], struct.unpack('<i', head[form + 16 : form + 20])[0]
    if codec not in _MPEG4 | _JPEG:
        raise NotPlain(f'its codec ({_name(codec)}) may hold more than 8 bits')
    sizes = _index(file).get(f'{videos[0]:02d}dc'.encode())
    if sizes is None or 0 in sizes or struct.unpack('<I', head[at + 28 : at + 32])[0]:
        raise NotPlain('it starts late, or has pauses')
    return codec, abs(height)


def _index(file: BinaryIO) -> dict[bytes, set[int]]:
    """The sizes of the chunks of each stream in an AVI file, by the index at its end."""
    found: dict[bytes, set[int]] = {}
    place = 12
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return found
        size = int.from_bytes(head[4:], 'little')
        if head[:4] == b'idx1':
            for name, _, _, length in struct.iter_unpack('<4s3I', file.read(size - size % 16)):
                found.setdefault(name, set()).add(length)
        place += 8 + size + size % 2


def _name(codec: bytes) -> str:
    return codec.decode('latin1').strip('\0 ') or 'uncompressed'


def _found(data: bytes, name: bytes) -> list[int]:
    places, at = [], data.find(name)
    while at >= 0:
        places.append(at)
        at = data.find(name, at + 4)
    return places
