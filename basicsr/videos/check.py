"""Read a written video back, and check its frames, times and tags."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from basicsr.utils.errors import ImageFileError
from basicsr.videos.colours import Colours
from basicsr.videos.info import VideoInfo
from basicsr.videos.reader import VideoReader

_UNSEEN = Fraction(1, 500)  # seconds: Matroska rounds times to milliseconds


def require_written(
    path: Path, name: Path, info: VideoInfo, display: tuple[int, ...] | None, times: list[int]
) -> tuple[str, ...]:
    """Check that a video has all its frames.

    Args:
        path: path of the file.
        name: its final name, for error messages.
        info: expected properties.
        display: expected display matrix, 3x3.
        times: expected times of the frames, in units of the time base of ``info``.

    Returns:
        notes on properties that differ.

    Raises:
        ImageFileError: frames are missing, or it cannot be read.
    """
    with VideoReader(path) as written:
        found, unit = sorted(written.packet_times()), written.info.time_base
        if len(found) < len(times):
            raise missing_frames(name, len(found), len(times))
        first = written.info
    kind = name.suffix[1:].upper()
    notes = []
    late = max(abs(at * unit - time * info.time_base) for at, time in zip(found, times, strict=True))
    if late > _UNSEEN:
        notes.append(f'frames are up to {float(late) * 1000:.0f} ms off their times: {kind} keeps a constant rate')
    pairs = {
        'colours': (_tags(info), _tags(first)),
        'shape of pixels': (info.aspect or 1, first.aspect or 1),
        'rotation': ((display or ())[:5], (first.display or ())[:5]),
    }
    notes += [f'{kind} does not store its {key}' for key, (wanted, got) in pairs.items() if wanted != got]
    return tuple(notes)


def missing_frames(name: Path, found: int, expected: int) -> ImageFileError:
    """Return the error for a video with too few frames."""
    hint = 'is the disk full or the size of files limited?'
    return ImageFileError(f'{name}: only {found} of {expected} frames could be written; {hint}')


def _tags(info: VideoInfo) -> Colours:
    """Return the colour tags of a video; an unspecified range is limited."""
    colours = info.layout.colours
    return replace(colours, range=max(1, colours.range))
