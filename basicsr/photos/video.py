"""Videos, frame by frame: by PyAV with all that their files say, without it plain ones by OpenCV."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.images.arrays import Array
from basicsr.inference.deblurrer import Deblurrer, MasksLike
from basicsr.masks.pictures import eight_bits
from basicsr.utils.errors import ImageFileError
from basicsr.utils.files import whole_path
from basicsr.videos.opencv import PlainReader, PlainWriter
from basicsr.videos.opening import Reader, open_video
from basicsr.videos.writer import CONTAINERS, VideoWriter


@dataclass(frozen=True)
class VideoDone:
    """A video that was deblurred and written.

    Args:
        frames: how many.
        size: (H, W), as written.
        collapsed: frames in which the guard found a collapse.
        notes: what could not be kept, in words.
        sample: a frame from the middle and its result, (H, W, 3) uint8 RGB; None if nobody asked.
    """

    frames: int
    size: tuple[int, int]
    collapsed: int
    notes: tuple[str, ...]
    sample: tuple[Array, Array] | None = None


def deblur_video(
    deblurrer: Deblurrer,
    source: Path,
    target: Path,
    masks: MasksLike = None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda frames, total: frames,
    *,
    side_by_side: Path | None = None,
    sample: bool = False,
) -> VideoDone:
    """Deblur every frame by itself. The files appear complete or not at all.

    With PyAV (the extra ``video``) the result has the source's frames at their times, its colours with all that is
    stated of them, its aspect and rotation, and its sound. Without it OpenCV takes files that need none of this
    (:mod:`basicsr.videos.plain`). Masks of frames are not kept in the cache.

    Args:
        deblurrer: what does it; it sees frames upright, as RGB of the video's own transfer characteristics.
        source: any video that FFmpeg reads, whatever its extension.
        target: ``.mp4``, ``.mov``, ``.mkv`` or ``.avi``; its folder must exist.
        masks: ``auto``, ``none`` or None.
        progress: wraps the frames, given how many there will be (0 if nobody knows).
        side_by_side: where each frame goes beside its result, without sound; None for nowhere.
        sample: whether to hand out a frame and its result.

    Raises:
        ImageFileError: no video that can be read, cut off, or one that cannot be written here.
        OSError: the disk is full or the folder cannot be written.
    """
    for path in (target, side_by_side):
        if path is not None and path.suffix.lower() not in CONTAINERS:
            raise ImageFileError(f'{path}: videos are written as {", ".join(CONTAINERS)}')
    cache, deblurrer.cache = deblurrer.cache, None
    try:
        with contextlib.ExitStack() as stack:
            paths = [None if path is None else stack.enter_context(whole_path(path)) for path in (target, side_by_side)]
            reader = open_video(source, target)
            stack.enter_context(reader)
            writer = stack.enter_context(_writing(paths[0], target, reader))
            beside = stack.enter_context(_writing(paths[1], side_by_side, reader, True))
            assert writer is not None  # noqa: S101 - it has a path
            count, collapsed, shown = 0, 0, None
            for frame in progress(reader.frames(writer.copy), reader.total):
                before = frame.images()
                done = [deblurrer.deblur(picture, masks) for picture in before]
                result = frame.changed(before, [part.image for part in done])
                writer.write(result)
                if beside is not None:
                    beside.write(frame, result)
                if sample and count in (0, reader.total // 2):
                    shown = eight_bits(frame.whole()), eight_bits(result.whole())
                count, collapsed = count + 1, collapsed + any(part.finding is not None for part in done)
    finally:
        deblurrer.cache = cache
    return VideoDone(count, writer.size, collapsed, (*reader.notes, *writer.notes), shown)


@contextlib.contextmanager
def _writing(
    path: Path | None, name: Path | None, reader: Reader, beside: bool = False
) -> Iterator[VideoWriter | PlainWriter | None]:
    """A writer that is closed at the end; nothing without a path."""
    if path is None or name is None:
        yield None
        return
    if isinstance(reader, PlainReader):
        writer: VideoWriter | PlainWriter = PlainWriter(path, name, reader, beside)
    else:
        writer = VideoWriter(path, name, reader, beside)
    try:
        yield writer
        writer.close()
    finally:
        writer.abandon()
