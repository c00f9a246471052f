"""Videos, frame by frame."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.models.deblurrer import Deblurrer, MasksLike
from basicsr.utils.errors import ImageFileError
from basicsr.utils.image import Array

_CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
_NEARLY_ALL = 0.9  # of the frames that a file says it has; it often says some too many


@dataclass(frozen=True)
class VideoDone:
    """A video that was deblurred and written.

    Args:
        frames: how many.
        size: (H, W), as written.
        collapsed: frames in which the guard found a collapse.
        notes: what could not be kept, in words.
    """

    frames: int
    size: tuple[int, int]
    collapsed: int
    notes: tuple[str, ...]


def deblur_video(
    deblurrer: Deblurrer,
    source: Path,
    target: Path,
    masks: MasksLike = None,
    progress: Callable[[Iterable[Array], int], Iterable[Array]] = lambda frames, total: frames,
) -> VideoDone:
    """Deblur every frame by itself; size and frame rate stay. The file appears complete or not at all.

    OpenCV writes even sizes only: of an odd one, the last row or column is left out, and a note says so. The frames
    come at the mean rate, whatever it was between them. The sound is copied where ``ffmpeg`` is installed. Masks of
    frames are not kept in the cache.

    Args:
        deblurrer: what does it.
        source: any video that OpenCV reads.
        target: ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``; its folder must exist.
        masks: ``auto``, ``none`` or None.
        progress: wraps the frames, given how many there will be (0 if nobody knows).

    Raises:
        ImageFileError: no video that can be read, or one that cannot be written here, or not to its end.
        OSError: the disk is full or the folder cannot be written.
    """
    if not source.is_file() or not source.stat().st_size:
        raise ImageFileError(f'{source}: {"the file is empty (0 bytes)" if source.is_file() else "no such file"}')
    video = cv2.VideoCapture(str(source))
    temporary = target.with_name(f'.{secrets.token_hex(8)}.part{target.suffix}')
    cache, deblurrer.cache = deblurrer.cache, None
    writer: Any = None
    count = collapsed = 0
    size = (0, 0)
    notes: tuple[str, ...] = ()
    try:
        rate, total = video.get(cv2.CAP_PROP_FPS), max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))
        for frame in progress(_frames(video), total):
            if writer is None:
                size = frame.shape[0], frame.shape[1]
                writer = _writer(temporary, target, rate, size)
            done = deblurrer.deblur(np.ascontiguousarray(frame[..., ::-1]), masks)
            _require_space(target, done.image.nbytes)
            writer.write(np.ascontiguousarray(done.image[..., ::-1]))
            count, collapsed = count + 1, collapsed + (done.finding is not None)
        if writer is None:
            raise ImageFileError(f'{source}: no video that can be read here')
        writer.release()
        written = _check_written(temporary, target, count)
        if written != size:
            notes = (f'cut to {written[1]}×{written[0]}: only even sizes can be written',)
        notes += _finish(temporary, source, target)
    finally:
        deblurrer.cache = cache
        video.release()
        if writer is not None:
            writer.release()
        temporary.unlink(missing_ok=True)
    if count < _NEARLY_ALL * total:
        notes = (f'the file says that it has {total} frames, {count} could be read; is it cut off?', *notes)
    return VideoDone(count, written, collapsed, notes)


def _frames(video: Any) -> Iterator[Array]:
    """All frames, (H, W, 3) BGR uint8."""
    while True:
        there, frame = video.read()
        if not there:
            return
        yield frame


def _writer(temporary: Path, target: Path, rate: float, size: tuple[int, int]) -> Any:
    codec = cv2.VideoWriter.fourcc(*_CODECS[target.suffix.lower()])
    writer = cv2.VideoWriter(str(temporary), codec, rate if 0 < rate <= 1000 else 25.0, (size[1], size[0]))
    if not writer.isOpened():
        raise ImageFileError(f'{target}: OpenCV cannot write a video here ({size[1]}×{size[0]} at {rate:g} frames/s)')
    writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 95)
    return writer


def _require_space(target: Path, frame: int) -> None:
    """Stop before the disk is full: OpenCV would go on without a word.

    Args:
        target: what is written.
        frame: bytes of the next one, not compressed.

    Raises:
        OSError: no space left.
    """
    if shutil.disk_usage(target.parent).free < frame:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def _check_written(temporary: Path, target: Path, count: int) -> tuple[int, int]:
    """The size (H, W) of a video that was written, read back from its first frame to its last.

    Raises:
        ImageFileError: frames are missing.
    """
    video = cv2.VideoCapture(str(temporary))
    try:
        there = 0
        while video.grab():
            there += 1
        size = int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(video.get(cv2.CAP_PROP_FRAME_WIDTH))
    finally:
        video.release()
    if there < count:
        raise ImageFileError(
            f'{target}: only {there} of {count} frames could be written; is the disk full, or are files limited?'
        )
    return size


def _finish(temporary: Path, source: Path, target: Path) -> tuple[str, ...]:
    """Give the video its sound and its name."""
    program = shutil.which('ffmpeg')
    if program is None:
        temporary.replace(target)
        return ('sound, if there was any, is not kept: ffmpeg is not installed',)
    both = temporary.with_name(f'.{secrets.token_hex(8)}.part{target.suffix}')
    arguments = ['-v', 'error', '-nostdin', '-i', str(temporary), '-i', str(source), '-map', '0:v', '-map', '1:a?']
    try:
        done = subprocess.run(  # noqa: S603 - a program of the user's, no shell
            [program, *arguments, '-c', 'copy', str(both)], capture_output=True, check=False
        )
        if done.returncode == 0 and both.is_file():
            both.replace(target)
            return ()
        temporary.replace(target)
        return ('sound is not kept: ffmpeg could not copy it',)
    finally:
        both.unlink(missing_ok=True)
