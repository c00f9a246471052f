"""Small data sets of synthetic pairs, made from photos of scikit-image and recorded with their settings."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import skimage
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr.masks.generator import build_generator
from basicsr.preparation.output_files import save_pair
from basicsr.utils.errors import DataError
from basicsr.utils.files import read_json, whole_folder


def photo_file(name: str) -> Path:
    """Return the path of a photo in the package of scikit-image.

    Raises:
        DataError: the installed version does not contain it.
    """
    folder = Path(skimage.__file__).parent / 'data'
    for path in (folder / f'{name}.png', folder / f'{name}.jpg'):
        if path.is_file():
            return path
    raise DataError(f'{folder}: has no photo {name}; reinstall scikit-image, or install a different version')


class MasksOfBlurred:
    """A data set with masks made from the blurred images alone, as for a user's photo.

    Args:
        dataset: of samples with lq.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.generator = dataset, build_generator({'type': 'felzenszwalb'})

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the sample with new masks."""
        item = self.dataset[index]
        labels = self.generator(item['lq'].permute(1, 2, 0).numpy())
        return {**item, 'masks': torch.from_numpy(labels.astype('int32'))}


def write_samples(dataset: Any, name: str, folder: Path, workers: int) -> None:
    """Write the samples of a data set as ``{blur,sharp,masks}/<name>_<number>.png``.

    Args:
        dataset: of samples with lq, gt and masks.
        name: start of the file names.
        folder: folder of the three folders.
        workers: number of processes.
    """
    for part in ('blur', 'sharp', 'masks'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)  # in order
    for number, item in enumerate(tqdm(loader, name, unit='image', dynamic_ncols=True, disable=None)):
        lq, gt = (item[key].permute(1, 2, 0).numpy() for key in ('lq', 'gt'))
        save_pair(folder, f'{name}_{number:04d}', lq, gt, item['masks'].numpy())


def require_same_settings(record: Path, settings: dict[str, Any]) -> None:
    """Compare the settings of a data set with those in its record.

    Raises:
        DataError: the folder of the record contains other files, or the data set with other settings; the record is
            damaged.
    """
    before: Any = read_json(record, DataError, 'remove its folder, or use another one') if record.is_file() else {}
    if not isinstance(before, dict):
        raise DataError(f'{record}: not the record of a data set; remove its folder, or use another one')
    if differing := ', '.join(key for key in settings if before.get(key) != settings[key]):
        advice = f'see {record.name}; remove the folder, or use another one'
        raise DataError(f'{record.parent}: contains other data ({differing} differ); {advice}')


def make_once(folder: Path, record: str, settings: dict[str, Any], make: Callable[[Path], None]) -> bool:
    """Make a data set, complete or not at all, unless it exists.

    Args:
        folder: of the data set.
        record: name of the file in it with the settings.
        settings: all settings that determine the images, as plain values.
        make: called with an empty folder, which then becomes ``folder``.

    Returns:
        whether it was made.

    Raises:
        DataError: the folder contains other files, or the data set with other settings.
    """
    if folder.exists():
        require_same_settings(folder / record, settings)
        return False
    cv2.setNumThreads(1)  # several processes share the processor
    with whole_folder(folder) as new:
        make(new)
        (new / record).write_text(json.dumps(settings, indent=2, sort_keys=True) + '\n', encoding='utf-8')
        if hasattr(os, 'sync'):
            os.sync()  # once for thousands of images
    return True
