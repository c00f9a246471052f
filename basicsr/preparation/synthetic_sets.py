"""Small data sets of generated pairs, made once: photos of scikit-image, pairs as files, a record of the settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr.images.arrays import Array
from basicsr.masks.files import encode_label_map
from basicsr.masks.generator import build_generator
from basicsr.utils.errors import DataError
from basicsr.utils.files import whole_folder


def photo_file(name: str) -> Path:
    """A photo in the package of scikit-image.

    Raises:
        DataError: this version does not bring it along.
    """
    folder = Path(skimage.__file__).parent / 'data'
    for path in (folder / f'{name}.png', folder / f'{name}.jpg'):
        if path.is_file():
            return path
    raise DataError(f'{folder}: holds no {name}; install scikit-image anew, or another version of it')


class MasksOfBlurred:
    """A data set whose masks are made from the blurred picture alone, as one has them for a photo.

    Args:
        dataset: of samples with lq.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.generator = dataset, build_generator({'type': 'felzenszwalb'})

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The item with the other masks."""
        item = self.dataset[index]
        labels = self.generator(item['lq'].permute(1, 2, 0).numpy())
        return {**item, 'masks': torch.from_numpy(labels.astype('int32'))}


def write_pictures(dataset: Any, name: str, folder: Path, workers: int) -> None:
    """Write the samples of a data set as ``{blur,sharp,masks}/<name>_<number>.png``.

    Args:
        dataset: of samples with lq, gt and masks.
        name: what the names of the files start with.
        folder: gets the three folders.
        workers: processes that make the samples.
    """
    for part in ('blur', 'sharp', 'masks'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)  # in order
    for number, item in enumerate(tqdm(loader, name, unit='picture', dynamic_ncols=True, disable=None)):
        file = f'{name}_{number:04d}.png'
        for part, key in (('blur', 'lq'), ('sharp', 'gt')):
            (folder / part / file).write_bytes(_png(item[key].permute(1, 2, 0).numpy()))
        (folder / 'masks' / file).write_bytes(encode_label_map(item['masks'].numpy()))


def make_once(folder: Path, record: str, settings: dict[str, Any], make: Callable[[Path], None]) -> bool:
    """Make a data set, whole or not at all, unless it is there.

    Args:
        folder: of the data set.
        record: name of the file in it that tells the settings.
        settings: all that decides the pictures, plain values.
        make: called with an empty folder, which then becomes ``folder``.

    Returns:
        whether it was made; False if it was there.

    Raises:
        DataError: the folder holds something else, or the same made with other settings.
    """
    if folder.exists():
        file = folder / record
        there = json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
        differing = [key for key in settings if there.get(key) != settings[key]]
        if differing:
            raise DataError(
                f'{folder}: holds other data ({", ".join(differing)} differ); remove it, or name another folder'
            )
        return False
    cv2.setNumThreads(1)  # the work is shared by processes
    with whole_folder(folder) as new:
        make(new)
        (new / record).write_text(json.dumps(settings, indent=2, sort_keys=True) + '\n', encoding='utf-8')
        if hasattr(os, 'sync'):
            os.sync()  # once, not for each of thousands of pictures
    return True


def _png(picture: Array) -> bytes:
    return cv2.imencode('.png', np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()
