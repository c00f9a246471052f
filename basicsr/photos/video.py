"""Deblur videos frame by frame: with PyAV, or with OpenCV for plain files if PyAV is not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.images.arrays import Array
from basicsr.inference.deblurrer import Deblurrer, MasksLike
from basicsr.masks.mask_images import eight_bits
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import whole_path
from basicsr.videos.opencv import PlainReader, PlainWriter
from basicsr.videos.opening import Reader, open_video
from basicsr.videos.writer import CONTAINERS, VideoWriter


@dataclass(frozen=True)
class DeblurredVideo:
    """A video that was deblurred and written.

    Args:
        frames: number of frames.
        size: (H, W) of the result.
        collapsed: number of frames in which the guard found a collapse.
        notes: properties of the file that could not be kept.
        sample: a frame from the middle and its result, (H, W, 3) uint8 RGB; None if not requested.
    """

    frames: int
    size: tuple[int, int]
    collapsed: int
    notes: tuple[str, ...]
    sample: tuple[Array, Array] | None = None

    @property
    def warning(self) -> str:
        """Message about collapsed frames; empty without any."""
        return f'the guard found a collapse in {self.collapsed} of {self.frames} frames' if self.collapsed else ''

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes."""
        return self.notes

    def summary(self, seconds: float) -> str:
        """Return size and time on one line."""
        (height, width), each = self.size, seconds / self.frames
        return f'{width}×{height}, {self.frames} frames, {seconds:.1f} s ({each:.2f} s each)'


def deblur_video(
    deblurrer: Deblurrer,
    source: Path,
    target: Path,
    masks: MasksLike = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda frames, total: frames,
    *,
    side_by_side: Path | None = None,
    sample: bool = False,
) -> DeblurredVideo:
    """Deblur each frame separately. The files appear complete or not at all.

    With PyAV (the extra ``video``) the result keeps frame times, colour tags, aspect ratio, rotation and sound.
    Without it, OpenCV reads files that need none of these (:mod:`basicsr.videos.plain`). Masks of frames are not
    cached.

    Args:
        deblurrer: the network; gets upright RGB frames with the video's own transfer characteristics.
        source: a video that FFmpeg reads, with any extension.
        target: ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``; its folder must exist.
        masks: ``auto``, ``none`` or None.
        progress: wraps the frames, given their number (0 if unknown).
        side_by_side: file for each frame beside its result, without sound; None writes none.
        sample: whether to return a frame and its result.

    Raises:
        ImageFileError: the video cannot be read to its end or cannot be written in this format.
        OSError: the disk is full or the folder cannot be written.
    """
    for path in (target, side_by_side):
        if path is not None and path.suffix.lower() not in CONTAINERS:
            raise ImageFileError(f'{path}: unknown video format; use {", ".join(CONTAINERS)}')
    deblurrer = deblurrer.for_frames()
    with contextlib.ExitStack() as stack:
        paths = [stack.enter_context(whole_path(path)) for path in (target, side_by_side) if path is not None]
        reader = open_video(source, target)
        stack.enter_context(reader)
        writer = stack.enter_context(_writing(paths[0], target, reader))
        beside = None if side_by_side is None else stack.enter_context(_writing(paths[1], side_by_side, reader, True))
        count, collapsed, shown = 0, 0, None
        for frame in progress(reader.frames(writer.copy), reader.total):
            before = frame.images()
            done = [deblurrer.deblur(image, masks) for image in before]
            result = frame.changed(before, [part.image for part in done])
            writer.write(result)
            if beside is not None:
                beside.write(frame, result)
            if sample and count in (0, reader.total // 2):
                shown = eight_bits(frame.whole()), eight_bits(result.whole())
            count, collapsed = count + 1, collapsed + any(part.finding is not None for part in done)
    return DeblurredVideo(count, writer.size, collapsed, (*reader.notes, *writer.notes), shown)


@contextlib.contextmanager
def _writing(path: Path, name: Path, reader: Reader, beside: bool = False) -> Iterator[VideoWriter | PlainWriter]:
    """Yield a writer and close it at the end."""
    if isinstance(reader, PlainReader):
        writer: VideoWriter | PlainWriter = PlainWriter(path, name, reader, beside)
    else:
        writer = VideoWriter(path, name, reader, beside)
    try:
        yield writer
        writer.close()
    finally:
        writer.abandon()
