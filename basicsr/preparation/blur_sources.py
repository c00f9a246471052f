"""Sources of blurred pairs: folders of photos, folders of frames, videos."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.frame_motion import FramePair
from basicsr.data.sharp_sources import frame_pairs_in, photos_in, read_sharp, scaled
from basicsr.images.files import imwrite
from basicsr.masks.mask_images import eight_bits
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.files import whole_folder
from basicsr.videos.colours import TRANSFERS
from basicsr.videos.frame import Frame
from basicsr.videos.opencv import PlainFrame, PlainReader
from basicsr.videos.opening import VIDEO_SUFFIXES, open_video

logger = logging.getLogger(__name__)

_SHORT_SIDE = 720
_SAME_SCENE = 0.5
_LOOKED_AT = 5


def sort_inputs(
    inputs: Sequence[str], photos: Sequence[str], clips: Sequence[str], frames: Path, most: int
) -> tuple[list[str], list[str]]:
    """Sort inputs into folders of photos and folders of clips. Frames of videos are written to folders first.

    Args:
        inputs: folders and videos of any kind.
        photos: folders of photos.
        clips: folders of clips and videos.
        frames: folder for the frames of videos.
        most: number of frame pairs from each video.

    Raises:
        ArgumentError: there is no input.
        DataError: a path does not exist, a folder contains no image, or a video has fewer than two frames.
    """
    if not [*inputs, *photos, *clips]:
        raise ArgumentError('no input; pass photos or clips with -i PATH ...')
    found: tuple[list[str], list[str]] = (list(photos), [])
    for name in [*inputs, *clips]:
        path = Path(name).expanduser()
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            found[1].append(str(frames_of_video(path, frames, most)))
        elif not path.is_dir():
            raise DataError(f'{path}: no such folder or video ({", ".join(VIDEO_SUFFIXES)})')
        else:
            clip = name in clips or is_clip(path)
            logger.info('%s: %s', path, 'frames of clips' if clip else 'photos')
            found[clip].append(str(path))
    return found


def is_clip(folder: Path) -> bool:
    """Return whether a folder contains frames: names end with consecutive numbers, and neighbours show the same scene.

    Raises:
        DataError: the folder has no images.
    """
    if not photos_in([str(folder)]):
        return False
    try:
        pairs = frame_pairs_in([str(folder)])
    except DataError:
        return False
    chosen = [pairs[int(k)] for k in np.unique(np.linspace(0, len(pairs) - 1, _LOOKED_AT).round())]
    return float(np.median([_agreement(*pair) for pair in chosen])) > _SAME_SCENE


def frames_of_video(video: Path, folder: Path, most: int) -> Path:
    """Write evenly spaced pairs of neighbouring frames as PNG files, with a shorter side of at most 720 pixels.

    Frames are upright and have the colours that players show. Each frame of interlaced video is a field.

    Args:
        video: any file that :func:`~basicsr.videos.opening.open_video` reads, except HDR.
        folder: parent of the folder of the frames; an existing folder of frames is used as it is.
        most: number of pairs.

    Raises:
        ImageFileError: the video cannot be read.
        DataError: the video has fewer than two frames, or is HDR.
    """
    target = folder / video.stem
    if target.is_dir():
        return target
    total = _count_frames(video)
    if total < 2:
        raise DataError(f'{video}: {total} frame(s) readable; at least two neighbouring frames are needed')
    firsts = {int(k) for k in np.linspace(0, total - 2, min(most, total - 1)).round()}
    wanted = firsts | {number + 1 for number in firsts}
    with whole_folder(target) as new, open_video(video) as reader:
        frames: Iterator[Frame | PlainFrame] = reader.frames(_ignore)
        for number, frame in enumerate(frames):
            if number in wanted:
                image = scaled(eight_bits(frame.images()[0]), _SHORT_SIDE)
                imwrite(new / f'{video.stem}_{number:06d}.png', image)
            if number == max(wanted):
                break
    return target


def _count_frames(video: Path) -> int:
    """Read the whole video: the length in its header is often wrong."""
    with open_video(video) as reader:
        kind = None if isinstance(reader, PlainReader) else TRANSFERS.get(reader.info.layout.colours.transfer)
        if kind is not None:  # blur is synthesized in the linear light of sRGB values
            raise DataError(f'{video}: HDR ({kind}); convert it to 8-bit BT.709 first')
        return sum(1 for _ in reader.frames(_ignore))


def _ignore(packet: Any) -> None:
    """Drop sound."""


def _agreement(first: Path, second: Path) -> float:
    small = [read_sharp(path, 240) for path in (first, second)]
    if small[0].shape != small[1].shape:
        return 0.0
    pair = FramePair(small[0], small[1])
    return pair.agreement((0, 0, *pair.size))
