"""Check whether OpenCV keeps a video as it is: it reads no colour tags, times or shapes of pixels."""

from __future__ import annotations

import mmap
import re
import struct
from pathlib import Path

from basicsr.images.boxes import Box, boxes, boxes_at
from basicsr.utils.errors import ImageFileError
from basicsr.videos.bits import read_h264, read_mpeg4
from basicsr.videos.colours import UNSTATED, Colours
from basicsr.videos.containers import is_mp4, mapped, video_tracks

_MPEG4 = {b'mp4v', b'MP4V', b'FMP4', b'XVID', b'xvid', b'DIVX', b'divx', b'DX50'}
_JPEG = {b'MJPG', b'mjpg', b'jpeg'}
_BT601 = {UNSTATED, 5, 6}
_HD = 720  # rows from which on players assume BT.709 for untagged videos


def require_plain(source: Path, target: Path | None, aspect: tuple[float, float]) -> None:
    """Refuse a video that OpenCV would change.

    Accepted are 8 bits, BT.601, square pixels, no rotation, a constant frame rate, and a start at 0.

    Args:
        source: a complete file.
        target: path of the result; OpenCV writes JPEG to AVI files, and MPEG-4 to others. None without a result.
        aspect: width and height of a pixel in OpenCV; 0 if unknown.

    Raises:
        ImageFileError: the video needs PyAV.
    """
    try:
        if all(aspect) and aspect[0] != aspect[1]:
            raise ValueError('its pixels are not square')
        with mapped(source) as data:
            codec, height = _mp4(data) if is_mp4(data) else _avi(data)
        if target is not None and height >= _HD and (codec in _JPEG) != (target.suffix.lower() == '.avi'):
            raise ValueError('its colour matrix would change')
    except (ValueError, LookupError, struct.error) as reason:
        raise ImageFileError(f"{source}: {reason}; this needs PyAV: run `pip install -e '.[video]'`") from reason


def _mp4(data: mmap.mmap) -> tuple[bytes, int]:
    """Return codec and height of a plain MP4 or MOV file."""
    if boxes_at(data, None, b'moov', b'mvex'):
        raise ValueError('it is a fragmented MP4')
    tracks = video_tracks(data)
    if len(tracks) != 1:
        raise ValueError(f'it contains {len(tracks)} videos')
    track = tracks[0]
    (header,) = boxes_at(data, track, b'tkhd')
    matrix = header.start + (52 if data[header.start] else 40)
    if struct.unpack_from('>2i4x2i', data, matrix) != (65536, 0, 0, 65536):
        raise ValueError('it is rotated')
    for edits in boxes_at(data, track, b'edts', b'elst'):
        wide, (count,) = data[edits.start], struct.unpack_from('>I', data, edits.start + 4)
        (begin,) = struct.unpack_from('>q' if wide else '>i', data, edits.start + (16 if wide else 12))
        if count != 1 or begin < 0:
            raise ValueError('it starts late, or is cut by an edit list')
    (times,) = boxes_at(data, track, b'mdia', b'minf', b'stbl', b'stts')
    runs = list(struct.iter_unpack('>II', data[times.start + 8 : times.end]))  # frames, and their duration
    if runs and runs[-1][0] == 1:
        runs = runs[:-1]  # the last frame may stay longer
    if len({duration for _, duration in runs}) > 1:
        raise ValueError('its frame rate varies')
    (description,) = boxes_at(data, track, b'mdia', b'minf', b'stbl', b'stsd')
    entries = list(boxes(data, description.start + 8, description.end))
    if len(entries) != 1:
        raise ValueError('its coding changes')
    return _check_entry(data, entries[0])


def _check_entry(data: mmap.mmap, entry: Box) -> tuple[bytes, int]:
    """Check the sample entry of an MP4 file; return its codec and height."""
    height = int.from_bytes(data[entry.start + 26 : entry.start + 28], 'big')
    inside = {box.kind: data[box.start : box.end] for box in boxes(data, entry.start + 78, entry.end)}
    if b'pasp' in inside and len(set(struct.unpack_from('>2I', inside[b'pasp']))) > 1:
        raise ValueError('its pixels are not square')
    if b'clap' in inside:
        raise ValueError('its frames are cropped for display')
    if tags := inside.get(b'colr'):
        if tags[:4] not in (b'nclx', b'nclc'):
            raise ValueError('it has a colour profile')
        primaries, transfer, matrix = struct.unpack_from('>3H', tags, 4)
        full = tags[:4] == b'nclx' and tags[10:11] >= b'\x80'
        _check_colours(Colours(matrix, primaries, transfer, 1 + full), height)
    if entry.kind == b'avc1' and b'avcC' in inside:
        size = int.from_bytes(inside[b'avcC'][6:8], 'big')
        _check_colours(read_h264(inside[b'avcC'][8 : 8 + size]), height)
    elif entry.kind in _MPEG4 and b'esds' in inside:
        _check_colours(read_mpeg4(inside[b'esds']), height)
    elif entry.kind not in _JPEG:
        raise _unsupported(entry.kind)
    return entry.kind, height


def _check_colours(colours: Colours, height: int) -> None:
    """Refuse tags: OpenCV writes limited BT.601 without tags."""
    tags = {colours.matrix, colours.primaries, colours.transfer}
    if not tags <= _BT601 or colours.range == 2 or (height >= _HD and tags != {UNSTATED}):
        raise ValueError('it states its colours')


def _avi(data: mmap.mmap) -> tuple[bytes, int]:
    """Return codec and height of a plain AVI file."""
    head = data[: 2**16]
    if head[:4] != b'RIFF' or head[8:12] != b'AVI ':
        raise ValueError('its colours and times are unknown')
    streams = [match.end() + 4 for match in re.finditer(b'strh', head)]
    videos = [number for number, at in enumerate(streams) if head[at : at + 4] == b'vids']
    if len(videos) != 1:
        raise ValueError(f'it contains {len(videos)} videos')
    at = streams[videos[0]]
    form = head.index(b'strf', at)
    height, codec = struct.unpack_from('<i4x4s', head, form + 16)
    if codec not in _MPEG4 | _JPEG:
        raise _unsupported(codec)
    place = 12
    while place < len(data) and data[place : place + 4] != b'idx1':
        size = int.from_bytes(data[place + 4 : place + 8], 'little')
        place += 8 + size + size % 2
    index = data[place + 8 : place + 8 + int.from_bytes(data[place + 4 : place + 8], 'little')]
    chunks = struct.iter_unpack('<4s3I', index[: len(index) // 16 * 16])  # name, flags, offset, size
    sizes = {size for name, _, _, size in chunks if name == f'{videos[0]:02d}dc'.encode()}
    if not sizes or 0 in sizes or head[at + 28 : at + 32] != bytes(4):
        raise ValueError('it starts late, or has pauses')
    return codec, abs(height)


def _unsupported(codec: bytes) -> ValueError:
    name = codec.decode('latin1').strip('\0 ') or 'uncompressed'
    return ValueError(f'its codec ({name}) may have more than 8 bits')
