"""Open videos with PyAV, or with OpenCV if PyAV is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from basicsr.videos.opencv import PlainReader
from basicsr.videos.reader import VideoReader, load_av

Reader: TypeAlias = VideoReader | PlainReader

VIDEO_SUFFIXES = ('.mp4', '.mov', '.avi', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv')
"""Extensions of videos, in lower case."""


def open_video(path: Path, target: Path | None = None) -> Reader:
    """Open a video, to be used in a ``with`` block.

    Args:
        path: path of the file.
        target: path of the result; None if the frames are only read.

    Raises:
        ImageFileError: not a video, cut off, of an unsupported kind, or one that needs PyAV.
    """
    return PlainReader(path, target) if load_av() is None else VideoReader(path)
