"""Plain videos through OpenCV, without PyAV; the program ffmpeg copies the sound if it is installed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.side_by_side import side_by_side
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import whole_path
from basicsr.videos.check import missing_frames
from basicsr.videos.containers import require_whole
from basicsr.videos.frame import LABELS, STEP
from basicsr.videos.plain import require_plain

_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
_NEARLY_ALL = 0.9  # of the frames that a file states; it often states a few too many


@dataclass(frozen=True)
class PlainFrame:
    """A frame.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """

    pixels: Array

    def images(self) -> list[Array]:
        """Return the frame, (H, W, 3) uint8 RGB."""
        return [self.pixels]

    def changed(self, before: Sequence[Array], after: Sequence[Array]) -> PlainFrame:
        """Return the frame with the only image of ``after``."""
        return PlainFrame(after[0])

    def whole(self) -> Array:
        """Return the frame, (H, W, 3) uint8 RGB."""
        return self.pixels


class PlainReader(AbstractContextManager['PlainReader']):
    """A plain video, to be used in a ``with`` block.

    Args:
        path: path of the file.
        target: path of the result; None without one.

    Attributes:
        path: path of the file.
        rate: frames per second; 0 or less if unknown.
        total: number of frames that the file states; 0 if unknown.
        notes: after the last frame, faults of the file, in words.

    Raises:
        ImageFileError: not a video, cut off, or one that OpenCV would change.
    """

    def __init__(self, path: Path, target: Path | None) -> None:
        require_whole(path)
        self.path = path
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise ImageFileError(f'{path}: not a readable video')
        require_plain(path, target, (self._video.get(cv2.CAP_PROP_SAR_NUM), self._video.get(cv2.CAP_PROP_SAR_DEN)))
        self.rate = self._video.get(cv2.CAP_PROP_FPS)
        self.total = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.notes: tuple[str, ...] = ()

    def __exit__(self, *error: object) -> None:
        self._video.release()

    def frames(self, copy: Callable[[Any], None]) -> Iterator[PlainFrame]:
        """Yield all frames; can be called once. ``copy`` is not called: OpenCV reads no sound.

        Raises:
            ImageFileError: there are none.
        """
        count = 0
        while (got := self._video.read())[0]:
            count += 1
            yield PlainFrame(np.ascontiguousarray(got[1][..., ::-1]))
        if not count:
            raise ImageFileError(f'{self.path}: not a readable video')
        if count < _NEARLY_ALL * self.total:
            self.notes = (f'the file states {self.total} frames, {count} could be read; is it cut off?',)


class PlainWriter:
    """A new video file, complete after :meth:`close`.

    OpenCV writes only even sizes: the last row or column of an odd size is cropped, with a note.

    Args:
        path: path of the file.
        name: its final name, for error messages.
        reader: the source video, whose sound is copied if ``ffmpeg`` is installed.
        beside: frames come in pairs, which are written side by side, without sound.

    Attributes:
        size: (H, W) of the frames as written, after :meth:`close`.
        notes: properties that are not kept, in words.
    """

    def __init__(self, path: Path, name: Path, reader: PlainReader, beside: bool = False) -> None:
        self._path, self._name, self._reader, self._beside = path, name, reader, beside
        self._writer: Any = None
        self._count = 0
        self.size = (0, 0)
        self.notes: tuple[str, ...] = ()

    def write(self, frame: PlainFrame, result: PlainFrame | None = None) -> None:
        """Add a frame.

        Args:
            frame: a frame of the reader, changed or not.
            result: a frame to show on its right.

        Raises:
            ImageFileError: OpenCV cannot write such a video.
            OSError: the disk is full.
        """
        pixels = frame.pixels
        if result is not None:
            pixels = side_by_side(pixels, result.pixels, LABELS, STEP)
        if self._writer is None:
            self.size = pixels.shape[0], pixels.shape[1]
            self._writer = self._open()
        if shutil.disk_usage(self._name.parent).free < pixels.nbytes:  # OpenCV would continue without an error
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._name))
        self._writer.write(np.ascontiguousarray(pixels[..., ::-1]))
        self._count += 1

    def copy(self, packet: Any) -> None:
        """Do nothing: OpenCV writes no sound."""

    def close(self) -> None:
        """Read the file back, and add the sound.

        Raises:
            ImageFileError: frames are missing in it.
        """
        if self._writer is None:
            return
        self._writer.release()
        video, there = cv2.VideoCapture(str(self._path)), 0
        while video.grab():
            there += 1
        written = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
        video.release()
        if there < self._count:
            raise missing_frames(self._name, there, self._count)
        if written != self.size:
            self.notes += (f'cut to {written[1]}×{written[0]}: only even sizes can be written',)
            self.size = written
        if not self._beside:
            self.notes += self._add_sound()

    def abandon(self) -> None:
        """Close the file in any state."""
        if self._writer is not None:
            self._writer.release()

    def _open(self) -> Any:
        codec = cv2.VideoWriter.fourcc(*_CODECS[self._name.suffix.lower()])
        rate = self._reader.rate if 0 < self._reader.rate <= 1000 else 25.0
        writer = cv2.VideoWriter(str(self._path), codec, rate, self.size[::-1])
        if not writer.isOpened():
            size = f'{self.size[1]}×{self.size[0]}'
            raise ImageFileError(f'{self._name}: OpenCV cannot write a video of {size} at {rate:g} frames/s')
        writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
        return writer

    def _add_sound(self) -> tuple[str, ...]:
        program = shutil.which('ffmpeg')
        if program is None:
            return ('sound, if there was any, is not kept: ffmpeg is not installed',)
        inputs = ['-i', str(self._path), '-i', str(self._reader.path), '-map', '0:v', '-map', '1:a?']
        try:
            with whole_path(self._path) as both:
                command = [program, '-v', 'error', '-nostdin', '-y', *inputs, '-c', 'copy', str(both)]
                subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - the user's program, no shell
        except (subprocess.CalledProcessError, FileNotFoundError):
            return ('sound is not kept: ffmpeg could not copy it',)
        return ()
