"""Videos by name, and what reads them: PyAV, or OpenCV where it is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from basicsr.utils.video_opencv import PlainReader
from basicsr.utils.video_reader import VideoReader, load_av

Reader: TypeAlias = VideoReader | PlainReader

VIDEO_SUFFIXES = ('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
"""What counts as a video, in lower case."""


def open_video(path: Path, target: Path | None = None) -> Reader:
    """A reader of a video, to be used in a ``with`` block.

    Args:
        path: of the file.
        target: where its result goes; None if the frames are only looked at.

    Raises:
        ImageFileError: no video, cut off, of a kind that is not read, or one that takes PyAV.
    """
    return PlainReader(path, target) if load_av() is None else VideoReader(path)
