"""Example photos of the page: from a folder, or blurred photos of scikit-image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.images.photo import PHOTO_SUFFIXES
from basicsr.photos.jobs import list_inputs
from basicsr.preparation.synthetic_sets import photo_file
from basicsr.utils.errors import DataError

_MAX_SHOWN = 24
_MARGIN, _NOISE = 48, 0.003


@dataclass(frozen=True)
class Example:
    """An example photo.

    Args:
        path: the file, in the folder that browsers may read.
        caption: its blur, in a few words.
        alt: what it shows, for those who cannot see it.
    """

    path: Path
    caption: str
    alt: str


CAPTIONS = {
    'cat': ('Camera shake, the same everywhere', 'A ginger cat, blurred by a shaken camera'),
    'cup': ('A moving object', 'A cup of coffee that moves on a table at rest'),
    'portrait': ('A small blur', 'An astronaut in front of a flag, blurred a little'),
    'text': ('Too blurred: this one fails', 'A printed page far out of focus, its letters unreadable'),
}
"""Caption and alternative text of the examples, by name."""


def make_examples(folder: Path) -> list[Path]:
    """Blur photos of scikit-image, which are free for any use and not in the training set of the bundled network.

    The blur is simulated, the same way each time: camera shake, a moving object, a small camera shake, and a defocus
    that no method reverses.

    Args:
        folder: for the files ``<name>_blurred.jpg``; created.

    Raises:
        DataError: this version of scikit-image lacks a photo.
        OSError: the folder cannot be written.
    """
    from basicsr.data.motion import shake_path, straight_path

    folder.mkdir(parents=True, exist_ok=True)
    names = 'chelsea', 'coffee', 'astronaut', 'page'
    cat, cup, portrait, text = (np.asarray(Image.open(photo_file(name)).convert('RGB')) for name in names)
    cup, portrait = cv2.resize(cup, (480, 320), interpolation=cv2.INTER_AREA), portrait[:360, 60:420]
    text = cv2.resize(text, (576, 288), interpolation=cv2.INTER_CUBIC)
    blurred = {
        'cat': _moved(cat, {}, shake_path(16, np.random.default_rng(4), 33)),
        'cup': _moved(cup, {1: straight_path(16, 0.4, 33)}, shake_path(2, np.random.default_rng(1), 33), _ellipse(cup)),
        'portrait': _moved(portrait, {}, shake_path(4, np.random.default_rng(2), 33)),
        'text': _defocused(text, 9),
    }
    made = []
    for name, image in blurred.items():
        made.append(folder / f'{name}_blurred.jpg')
        imwrite(made[-1], np.ascontiguousarray(image))
    return made


def with_captions(paths: list[Path]) -> list[Example]:
    """Return examples with captions: those of :func:`make_examples`, or the file names."""
    pairs = (
        (path, CAPTIONS.get(path.stem.removesuffix('_blurred'), (path.name, f'Example {path.name}'))) for path in paths
    )
    return [Example(path, *words) for path, words in pairs]


def examples_of(folder: Path) -> list[Path]:
    """Return the photos directly in a folder, sorted by name, at most 24.

    Raises:
        DataError: the folder does not exist or contains no photo.
    """
    if not folder.is_dir():
        raise DataError(f'--examples {folder}: no such folder')
    photos = list_inputs([folder]).files
    if not photos:
        raise DataError(f'--examples {folder}: no photos in this folder ({", ".join(PHOTO_SUFFIXES)})')
    return photos[:_MAX_SHOWN]


def _moved(
    sharp: Array,
    moving: Mapping[int, NDArray[np.float64]],
    shake: NDArray[np.float64],
    labels: NDArray[np.int32] | None = None,
) -> Array:
    """Blur a photo whose regions and camera move."""
    from basicsr.data.region_blur import render_photo

    labels = np.zeros(sharp.shape[:2], np.int32) if labels is None else labels
    around = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN))
    wide, regions = np.pad(sharp, (*around, (0, 0)), 'symmetric'), np.pad(labels, around)
    rng = np.random.default_rng(0)
    return render_photo(wide, regions, moving, shake, noise_std=_NOISE, rng=rng, margin=_MARGIN)[0]


def _ellipse(photo: Array) -> NDArray[np.int32]:
    """Return a label map with an ellipse around the cup."""
    labels = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(labels, (255, 150), (165, 130), 0, 0, 360, 1, -1)
    return labels.astype(np.int32)


def _defocused(photo: Array, radius: int) -> Array:
    """Blur a photo with a disc."""
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = (rows**2 + columns**2 <= radius**2).astype(np.float64)
    blurred = cv2.filter2D(photo.astype(np.float64), -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    noise = np.random.default_rng(0).normal(0, 255 * _NOISE * 3, photo.shape)
    return np.asarray((blurred + noise).clip(0, 255).round(), np.uint8)
