"""Blurred pictures to try the page with: of a folder, or made of photos that come with scikit-image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from basicsr.data.synthetic_blur_dataset import SyntheticBlurDataset
from basicsr.images.files import imwrite
from basicsr.images.photo import PHOTO_SUFFIXES
from basicsr.photos.jobs import list_inputs
from basicsr.preparation.synthetic_sets import photo_file
from basicsr.utils.errors import DataError

PHOTOS = {'astronaut': 512, 'coffee': 400, 'chelsea': 300}
"""Photos of scikit-image, free for any use, that the network of the repository was not trained on; their rows."""
_MAX_SHOWN = 24


def make_examples(folder: Path) -> list[Path]:
    """Blur photos as a shaking camera does, the same way each time.

    Args:
        folder: of the new files ``<photo>_blurred.jpg``; made.

    Raises:
        DataError: this version of scikit-image does not bring a photo along.
        OSError: the folder cannot be written.
    """
    made = []
    for number, (name, size) in enumerate(PHOTOS.items()):
        photo = photo_file(name)
        alone = folder / f'.{name}'  # a data set is a folder
        alone.mkdir(parents=True)
        shutil.copyfile(photo, alone / photo.name)
        scene = SyntheticBlurDataset(
            str(alone),
            share_photos=1.0,
            length=1,
            gt_size=size,
            shake_length=14.0,
            path_length=6.0,
            moving_share=0.3,
            noise=(0.003, 0.003),
            seed=number,
        )
        blurred = scene[0]['lq'].permute(1, 2, 0).numpy()
        shutil.rmtree(alone)
        made.append(folder / f'{name}_blurred.jpg')
        imwrite(made[-1], np.ascontiguousarray(blurred))
    return made


def examples_of(folder: Path) -> list[Path]:
    """The photos directly in a folder, by name; the first of very many.

    Raises:
        DataError: there is no such folder, or no photo in it.
    """
    if not folder.is_dir():
        raise DataError(f'--examples {folder}: no such folder')
    photos = list_inputs([folder]).files
    if not photos:
        raise DataError(f'--examples {folder}: no photos in this folder ({", ".join(PHOTO_SUFFIXES)})')
    return photos[:_MAX_SHOWN]
