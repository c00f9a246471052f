"""Example photos of the page: from a folder, or blurred photos of scikit-image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.images.files import imwrite
from basicsr.images.photo import PHOTO_SUFFIXES
from basicsr.photos.jobs import list_inputs
from basicsr.preparation.synthetic_sets import photo_file
from basicsr.utils.errors import DataError

PHOTOS = {'astronaut': 512, 'coffee': 400, 'chelsea': 300}
"""Photos of scikit-image and their heights in pixels; free for any use, and not in the training set of the network."""
BLUR: dict[str, Any] = {'shake_length': 14.0, 'path_length': 6.0, 'moving_share': 0.3, 'noise': (0.003, 0.003)}
_MAX_SHOWN = 24


def make_examples(folder: Path) -> list[Path]:
    """Blur photos with simulated camera shake, the same way each time.

    Args:
        folder: for the files ``<photo>_blurred.jpg``; created.

    Raises:
        DataError: this version of scikit-image lacks a photo.
        OSError: the folder cannot be written.
    """
    made = []
    for number, (name, size) in enumerate(PHOTOS.items()):
        photo = photo_file(name)
        alone = folder / f'.{name}'  # a data set is a folder
        alone.mkdir(parents=True)
        shutil.copyfile(photo, alone / photo.name)
        scene = SyntheticBlurDataset(str(alone), share_photos=1.0, length=1, gt_size=size, seed=number, **BLUR)
        blurred = scene[0]['lq'].permute(1, 2, 0).numpy()
        shutil.rmtree(alone)
        made.append(folder / f'{name}_blurred.jpg')
        imwrite(made[-1], np.ascontiguousarray(blurred))
    return made


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
