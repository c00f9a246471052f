"""Read masks of other tools: folders and JSON of Segment Anything, black and white images."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.masks.decoding import decode_png
from basicsr.masks.label_map import pack_masks
from basicsr.masks.run_lengths import checked_size, mask_of_runs
from basicsr.utils.errors import MaskError
from basicsr.utils.files import read_file

_BLOCK = 2**20  # pixels processed at once

METADATA = 'metadata.csv'
"""The file that marks a folder of Segment Anything's ``amg.py`` with the masks of one image."""


def labels_of_folder(folder: Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a folder with one PNG per mask (``0.png``, ``1.png``, ...) as a label map; PNG k is region k + 1.

    Args:
        folder: contains ``metadata.csv``, whose column ``id`` lists required masks; further ones are allowed.
        size: (H, W) of the image, if known.

    Raises:
        MaskError: a mask is missing, empty, of a different size or not binary; a number is repeated or negative.
    """
    files = _numbered(folder)
    for number in _listed(folder / METADATA):
        if number not in files:
            raise MaskError(f'{folder / METADATA}: lists the mask {number}, but {folder / f"{number}.png"} is missing')
    masks = ((number + 1, str(path), _binary(path, size)) for number, path in sorted(files.items()))
    return pack_masks(masks, str(folder), size)


def labels_of_json(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read run lengths in JSON as a label map: a list of masks, or an object with ``annotations`` (SA-1B).

    Each mask is an object whose ``segmentation`` is a run-length code; the mask at index i is region i + 1.

    Args:
        data: content of the file.
        name: for error messages.
        size: (H, W) that the masks must have; None for any.

    Raises:
        MaskError: damaged, other content, an empty mask, several sizes, or a repeated or negative id; names file and
            index.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MaskError(f'{name}: damaged, or not JSON ({error})') from error
    if isinstance(content, dict) and 'images' in content:
        raise MaskError(f'{name}: contains annotations of several images; write one file per image')
    masks = content.get('annotations') if isinstance(content, dict) else content
    if not isinstance(masks, list) or not all(isinstance(mask, dict) for mask in masks):
        raise MaskError(f"{name}: contains neither a list of masks nor 'annotations' with one")
    _check_ids([mask['id'] for mask in masks if 'id' in mask], name)
    about = content.get('image') if isinstance(content, dict) else None
    stated = None
    if isinstance(about, dict) and 'height' in about and 'width' in about:
        stated = checked_size([about['height'], about['width']], f"{name}: 'image'", size)

    def planes() -> Iterator[tuple[int, str, NDArray[np.bool_]]]:
        for index, mask in enumerate(masks):
            code = mask.get('segmentation', mask)
            if isinstance(code, list):
                raise MaskError(f'{name}: mask {index} is a polygon; only run-length codes are supported')
            yield index + 1, f'{name}: mask {index}', mask_of_runs(code, f'{name}: mask {index}', size)

    return pack_masks(planes(), name, size, stated)


def labels_of_bilevel(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Convert a black and white image (H, W) to a label map: white areas connected along edges, the largest first.

    Areas of the same size are in reading order.
    """
    count, parts, facts, _ = cv2.connectedComponentsWithStats(white.astype(np.uint8), connectivity=4)
    areas = facts[1:, cv2.CC_STAT_AREA]
    starts, flat = np.zeros(count, np.int64), parts.ravel()
    for begin in reversed(range(0, flat.size, _BLOCK)):  # from the end: the first position remains
        places = np.arange(begin, min(begin + _BLOCK, flat.size))[::-1]
        starts[flat[places]] = places
    ids = np.zeros(count, np.int32)
    ids[1 + np.lexsort((starts[1:], -areas))] = np.arange(1, count)
    return np.asarray(ids[parts][None], np.int32)


def is_folder_of_masks(path: Path) -> bool:
    """Whether a folder contains the masks of one image."""
    return (path / METADATA).is_file()


def _numbered(folder: Path) -> dict[int, Path]:
    """Return the PNG files of a folder by their numbers."""
    files: dict[int, Path] = {}
    for path in sorted(folder.glob('*.png')):
        if not path.stem.isdecimal():
            raise MaskError(f'{path}: the name of a mask is its number from 0 (0.png, 1.png, ...)')
        other = files.setdefault(int(path.stem), path)
        if other != path:
            raise MaskError(f'{path}: has the same number as {other.name}; remove one')
    return files


def _listed(path: Path) -> list[int]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            numbers = [int(str(row.get('id'))) for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise MaskError(f"{path}: its column 'id' of numbers cannot be read ({error})") from error
    _check_ids(numbers, str(path))
    return numbers


def _check_ids(ids: list[Any], name: str) -> None:
    wrong = [number for number in ids if type(number) is not int or number < 0]
    if wrong:
        raise MaskError(f'{name}: ids must be non-negative integers, found {wrong[0]!r}')
    repeated = [number for number, times in Counter(ids).items() if times > 1]
    if repeated:
        raise MaskError(f'{name}: the id {repeated[0]} is repeated')


def _binary(path: Path, size: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Read a mask (H, W) of a PNG with two values."""
    pixels, mode = decode_png(read_file(path, MaskError), str(path), size)
    if mode not in ('1', 'L') or ((pixels > 1) & (pixels < 255)).any():
        raise MaskError(f'{path}: is not a binary mask (gray or black and white, 0 and 255); its mode is {mode}')
    return np.asarray(pixels > 0)
