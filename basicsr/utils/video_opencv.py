"""Plain videos by OpenCV, for people without PyAV; the program ffmpeg copies the sound, if there is one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import Array
from basicsr.utils.side_by_side import side_by_side
from basicsr.utils.video_containers import require_whole
from basicsr.utils.video_frame import LABELS, STEP
from basicsr.utils.video_plain import require_plain

_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
_NEARLY_ALL = 0.9  # of the frames that a file says it has; it often says some too many


@dataclass(frozen=True)
class PlainFrame:
    """A frame.

    Args:
        pixels: (H, W, 3) uint8 RGB.
    """

    pixels: Array

    def pictures(self) -> list[Array]:
        """The frame, (H, W, 3) uint8 RGB."""
        return [self.pixels]

    def changed(self, before: Sequence[Array], after: Sequence[Array]) -> PlainFrame:
        """The frame with another picture, the only one of ``after``."""
        return PlainFrame(after[0])

    def whole(self) -> Array:
        """The frame, (H, W, 3) uint8 RGB."""
        return self.pixels


class PlainReader:
    """A plain video; to be used in a ``with`` block.

    Args:
        path: of the file.
        target: where the result goes; None if there is none.

    Attributes:
        path: of the file.
        rate: frames a second; 0 or less if it is not known.
        total: how many frames there are by what the file says; 0 if it says nothing.
        notes: after the last frame, what was wrong with the file, in words.

    Raises:
        ImageFileError: no video, cut off, or one that OpenCV would change.
    """

    def __init__(self, path: Path, target: Path | None) -> None:
        require_whole(path)
        self.path = path
        self._video = cv2.VideoCapture(str(path))
        if not self._video.isOpened():
            raise ImageFileError(f'{path}: no video that can be read here')
        require_plain(path, target, (self._video.get(cv2.CAP_PROP_SAR_NUM), self._video.get(cv2.CAP_PROP_SAR_DEN)))
        self.rate = self._video.get(cv2.CAP_PROP_FPS)
        self.total = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> PlainReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._video.release()

    def frames(self, copy: Callable[[Any], None]) -> Iterator[PlainFrame]:
        """All frames; can be called once.

        Raises:
            ImageFileError: there is none.
        """
        count = 0
        while (got := self._video.read())[0]:
            count += 1
            yield PlainFrame(np.ascontiguousarray(got[1][..., ::-1]))
        if not count:
            raise ImageFileError(f'{self.path}: no video that can be read here')
        if count < _NEARLY_ALL * self.total:
            self.notes = (f'the file says that it has {self.total} frames, {count} could be read; is it cut off?',)


class PlainWriter:
    """A video in the making; it is whole after :meth:`close`.

    OpenCV writes even sizes only: of an odd one, the last row or column is left out, and a note says so.

    Args:
        path: of the file.
        name: what it will be called, for messages.
        reader: the video whose frames come back changed, and whose sound is copied where ``ffmpeg`` is installed.
        beside: frames come in pairs, which are shown side by side; such a video gets no sound.

    Attributes:
        size: (H, W) of the frames, as written, after :meth:`close`.
        notes: what could not be kept, in words.
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
            frame: of the reader, changed or not.
            result: what is shown on the right of it.

        Raises:
            ImageFileError: such a video cannot be written here.
            OSError: the disk is full.
        """
        pixels = frame.pixels
        if result is not None:
            pixels = side_by_side(pixels, result.pixels, LABELS, STEP)
        if self._writer is None:
            self.size = pixels.shape[0], pixels.shape[1]
            self._writer = self._open()
        self._require_space(pixels.nbytes)
        self._writer.write(np.ascontiguousarray(pixels[..., ::-1]))
        self._count += 1

    def copy(self, packet: Any) -> None:
        """Nothing: OpenCV knows no sound."""

    def close(self) -> None:
        """Read the file back, and give it its sound.

        Raises:
            ImageFileError: frames are missing in it.
        """
        if self._writer is None:
            return
        self._writer.release()
        written = self._check()
        if written != self.size:
            self.notes += (f'cut to {written[1]}×{written[0]}: only even sizes can be written',)
            self.size = written
        if not self._beside:
            self.notes += self._add_sound()

    def abandon(self) -> None:
        """Let go of the file, whatever its state."""
        if self._writer is not None:
            self._writer.release()

    def _open(self) -> Any:
        codec = cv2.VideoWriter.fourcc(*_CODECS[self._name.suffix.lower()])
        rate = self._reader.rate if 0 < self._reader.rate <= 1000 else 25.0
        writer = cv2.VideoWriter(str(self._path), codec, rate, self.size[::-1])
        if not writer.isOpened():
            size = f'{self.size[1]}×{self.size[0]}'
            raise ImageFileError(f'{self._name}: OpenCV cannot write a video here ({size} at {rate:g} frames/s)')
        writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
        return writer

    def _require_space(self, frame: int) -> None:
        """Stop before the disk is full, with so many bytes to come: OpenCV would go on without a word."""
        if shutil.disk_usage(self._name.parent).free < frame:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._name))

    def _check(self) -> tuple[int, int]:
        """The size (H, W) of the video, read back from its first frame to its last."""
        video = cv2.VideoCapture(str(self._path))
        try:
            there = 0
            while video.grab():
                there += 1
            size = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
        finally:
            video.release()
        if there < self._count:
            raise ImageFileError(
                f'{self._name}: only {there} of {self._count} frames could be written; '
                'is the disk full or the size of files limited?'
            )
        return size

    def _add_sound(self) -> tuple[str, ...]:
        program = shutil.which('ffmpeg')
        if program is None:
            return ('sound, if there was any, is not kept: ffmpeg is not installed',)
        both = self._path.with_name(f'.{secrets.token_hex(8)}.part{self._path.suffix}')
        inputs = ['-i', str(self._path), '-i', str(self._reader.path), '-map', '0:v', '-map', '1:a?']
        try:
            done = subprocess.run(  # noqa: S603 - a program of the user's, no shell
                [program, '-v', 'error', '-nostdin', *inputs, '-c', 'copy', str(both)], capture_output=True, check=False
            )
            if done.returncode == 0 and both.is_file():
                both.replace(self._path)
                return ()
            return ('sound is not kept: ffmpeg could not copy it',)
        finally:
            both.unlink(missing_ok=True)
