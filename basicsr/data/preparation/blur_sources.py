"""What a user names as sources of blurred pairs: folders of photos, folders of frames, videos."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from basicsr.data.frame_motion import FramePair
from basicsr.data.sharp_sources import frame_pairs_in, photos_in, read_sharp, scaled
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.files import whole_folder
from basicsr.utils.image import imwrite

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = ('.mp4', '.mov', '.mkv', '.avi', '.webm', '.m4v')
_SHORT_SIDE = 720
_SAME_SCENE = 0.5
_LOOKED_AT = 5


def sort_inputs(
    inputs: Sequence[str], photos: Sequence[str], clips: Sequence[str], frames: Path, most: int
) -> tuple[list[str], list[str]]:
    """Folders of photos and folders of clips; frames of videos are written to folders first.

    Args:
        inputs: folders and videos of any kind.
        photos: folders of photos.
        clips: folders of clips and videos.
        frames: folder for the frames of videos.
        most: pairs of frames taken from each video.

    Raises:
        ArgumentError: nothing is named.
        DataError: a path does not exist, a folder holds no image, or a video has fewer than two frames.
    """
    if not [*inputs, *photos, *clips]:
        raise ArgumentError('name photos or clips: -i PATH ...')
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
    """Whether a folder holds frames: names end with consecutive numbers, and neighbours show the same scene.

    Raises:
        DataError: it holds no image.
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
    """Write pairs of neighbouring frames of a video, evenly spread, as PNG files of at most 720 pixels on one side.

    Args:
        video: any file that OpenCV reads.
        folder: the frames go to a folder in it, which is kept if it exists.
        most: number of pairs.

    Raises:
        DataError: no video, or one with fewer than two frames.
    """
    target = folder / video.stem
    if target.is_dir():
        return target
    total = _count_frames(video)
    if total < 2:
        raise DataError(f'{video}: {total} frame(s) can be read; at least two neighbouring frames are needed')
    firsts = {int(k) for k in np.linspace(0, total - 2, min(most, total - 1)).round()}
    wanted = firsts | {number + 1 for number in firsts}
    capture = cv2.VideoCapture(str(video))
    with whole_folder(target) as new:
        for number in range(max(wanted) + 1):
            if not capture.grab():
                break
            if number in wanted:
                _, frame = capture.retrieve()
                image = scaled(np.ascontiguousarray(frame[..., ::-1]), _SHORT_SIDE)
                imwrite(new / f'{video.stem}_{number:06d}.png', image)
    capture.release()
    return target


def _count_frames(video: Path) -> int:
    """By reading it: what files say about their length is often wrong."""
    capture = cv2.VideoCapture(str(video))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _agreement(first: Path, second: Path) -> float:
    small = [read_sharp(path, 240) for path in (first, second)]
    if small[0].shape != small[1].shape:
        return 0.0
    pair = FramePair(small[0], small[1])
    return pair.agreement((0, 0, *pair.size))
