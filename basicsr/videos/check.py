"""Reading a video back after it was written: every frame is there, at its time, and it states what it should."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from basicsr.utils.errors import ImageFileError
from basicsr.videos.colours import Colours
from basicsr.videos.facts import Facts
from basicsr.videos.reader import VideoReader

_UNSEEN = Fraction(1, 500)  # seconds: what the milliseconds of Matroska make of times


def require_written(
    path: Path, name: Path, facts: Facts, display: tuple[int, ...] | None, times: list[int]
) -> tuple[str, ...]:
    """Make sure that a video has all its frames.

    Args:
        path: of the file.
        name: what it will be called, for messages.
        facts: what its frames should have in common.
        display: 3x3 matrix by which they should be turned.
        times: of the frames, in units of the time base of ``facts``.

    Returns:
        what it does not state, or not as it should, in words.

    Raises:
        ImageFileError: frames are missing, or it cannot be read.
    """
    with VideoReader(path) as written:
        found, unit = sorted(written.packet_times()), written.facts.time_base
        if len(found) < len(times):
            raise ImageFileError(
                f'{name}: only {len(found)} of {len(times)} frames could be written; '
                'is the disk full or the size of files limited?'
            )
        first = written.facts
    kind = name.suffix[1:].upper()
    notes = []
    late = max(abs(at * unit - time * facts.time_base) for at, time in zip(found, times, strict=True))
    if late > _UNSEEN:
        notes.append(f'frames are up to {float(late) * 1000:.0f} ms off their times: {kind} keeps a constant rate')
    pairs = {
        'colours': (_told(facts), _told(first)),
        'shape of pixels': (facts.aspect or 1, first.aspect or 1),
        'rotation': ((display or ())[:5], (first.display or ())[:5]),
    }
    notes += [f'{kind} does not tell its {key}' for key, (wanted, got) in pairs.items() if wanted != got]
    return tuple(notes)


def _told(facts: Facts) -> Colours:
    """The colours that a video states; who states no range means the limited one."""
    colours = facts.layout.colours
    return replace(colours, range=max(1, colours.range))
