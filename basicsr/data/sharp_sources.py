"""Read sharp images: photos in folders, and pairs of neighbouring frames of clips."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from skimage.measure import blur_effect

from basicsr.data.exposure import Image
from basicsr.data.stores.base import FolderStore
from basicsr.images.files import image_size
from basicsr.masks.mask_images import read_photo
from basicsr.utils.errors import DataError

logger = logging.getLogger(__name__)

Pair = tuple[Path, Path]
_KEPT_BYTES = 256 << 20
_NUMBER = re.compile(r'^(.*?)(\d+)$')
_SHARP = 0.45


class RecentImages:
    """A cache of the most recent images, up to 256 MiB; the last one is always kept.

    Args:
        read: reads an image file.
    """

    def __init__(self, read: Callable[[Path], Image]) -> None:
        self._read = read
        self._kept: OrderedDict[Path, Image] = OrderedDict()

    def __call__(self, path: Path) -> Image:
        """Return the image of a file."""
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        image = self._kept[path] = self._read(path)
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > _KEPT_BYTES:
            self._kept.popitem(last=False)
        return image


def photos_in(folders: Sequence[str]) -> list[Path]:
    """Return all photos in folders and their sub-folders, sorted by folder and name.

    Raises:
        DataError: a folder is missing or contains no image.
    """
    stores = [FolderStore(folder) for folder in folders]
    return [store.root / key for store in stores for key in store.keys]


def frame_pairs_in(folders: Sequence[str]) -> list[Pair]:
    """Return all pairs of neighbouring frames in folders and their sub-folders.

    Neighbours are in one folder, and their names end with consecutive numbers after the same text: ``walk_007.png`` and
    ``walk_008.png``.

    Raises:
        DataError: a folder is missing, or a folder of images contains no two neighbouring frames.
    """
    pairs: list[Pair] = []
    for folder in folders:
        clips: dict[Path, dict[tuple[str, int], Path]] = defaultdict(dict)
        for path in photos_in([folder]):
            match = _NUMBER.match(path.stem)
            clips[path.parent][(match[1], int(match[2])) if match else (path.stem, -1)] = path
        for place, frames in clips.items():
            found = [
                (path, frames[prefix, number + 1])
                for (prefix, number), path in sorted(frames.items())
                if number >= 0 and (prefix, number + 1) in frames
            ]
            if not found:
                raise DataError(
                    f'{place}: {len(frames)} image(s), but no two neighbouring frames; their names end with '
                    'consecutive numbers (walk_007.png, walk_008.png)'
                )
            pairs += found
    return pairs


def read_sharp(path: Path, short_side: int) -> Image:
    """Read a photo or frame as (H, W, 3) RGB uint8, scaled down if its shorter side exceeds ``short_side`` pixels.

    Raises:
        ImageFileError: it cannot be read.
    """
    return scaled(read_photo(path), short_side)


def read_pair(pair: Pair, read: Callable[[Path], Image]) -> tuple[Image, Image]:
    """Read two neighbouring frames.

    Args:
        pair: their files.
        read: reads one of them, see :func:`read_sharp`.

    Raises:
        ImageFileError: one cannot be read.
        DataError: they differ in size.
    """
    first, second = (read(path) for path in pair)
    if first.shape != second.shape:
        sizes = ' and '.join(f'{frame.shape[1]}×{frame.shape[0]}' for frame in (first, second))
        raise DataError(f'{pair[0]} and {pair[1]}: the frames of a clip must have one size, got {sizes}')
    return first, second


def scaled(image: Image, short_side: int) -> Image:
    """Scale the image down so that its shorter side has at most this many pixels."""
    factor = short_side / min(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(factor * side)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def is_sharp(image: Image) -> bool:
    """Return whether an image is sharp enough for ground truth, by the effect of another blur of 11 pixels.

    The measure is that of Crete et al. ("The blur effect", SPIE 2007), 0 for sharp and 1 for blurred images. Smooth
    areas such as sky count as blurred.

    Args:
        image: (H, W, 3) RGB uint8.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return bool(blur_effect(gray) < _SHARP)


def texture(image: Image) -> float:
    """Return the amount of texture in an image: the mean absolute gradient in gray levels.

    Args:
        image: (H, W, 3) RGB uint8.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.abs(np.diff(gray, axis=0)).mean() + np.abs(np.diff(gray, axis=1)).mean())


def large_enough(photos: Sequence[Path], least: int) -> list[Path]:
    """Return the photos with at least ``least`` pixels per side; broken files are kept, and refused later."""
    kept = [path for path in photos if min(image_size(path) or (least, least)) >= least]
    if len(kept) < len(photos):
        logger.info(
            'skipping %d of %d photos: a side has less than %d pixels', len(photos) - len(kept), len(photos), least
        )
    if photos and not kept:
        raise DataError(f'{photos[0].parent}: none of {len(photos)} photos has at least {least} pixels per side')
    return kept


def require_size(photos: Sequence[Path], pairs: Sequence[Pair], least: int) -> None:
    """Make sure that all photos and frames have at least ``least`` pixels a side.

    Raises:
        DataError: some are smaller, or are no images; the message lists them.
    """
    problems = []
    for path in [*photos, *(path for pair in pairs for path in pair)]:
        size = image_size(path)
        if size is None or min(size) < least:
            problems.append(f'{path} ({"no image, or cut off" if size is None else f"{size[1]}×{size[0]}"})')
    if problems:
        listed = '\n  '.join([*problems[:10], *([f'and {len(problems) - 10} more'] if len(problems) > 10 else [])])
        raise DataError(f'images of at least {least} pixels per side are needed; remove or replace\n  {listed}')
