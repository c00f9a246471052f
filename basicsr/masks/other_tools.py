"""Masks as other tools write them: folders and JSON of Segment Anything, palettes, black and white."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from basicsr.masks.label_map import LayerPacker, packer_for_file
from basicsr.masks.run_lengths import checked_size, mask_of_runs
from basicsr.utils.errors import ImageFileError, MaskError
from basicsr.utils.image_headers import read_header

_BLOCK = 2**20  # pixels looked at in one go

METADATA = 'metadata.csv'
"""What marks a folder that Segment Anything's ``amg.py`` has written for one image."""


def labels_of_folder(folder: Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """The label map of a folder with one PNG a mask (``0.png``, ``1.png``, ...); PNG k is region k + 1.

    Args:
        folder: with ``metadata.csv``, whose column ``id`` names masks that must be there; others may be.
        size: (H, W) of the image, if it is known.

    Raises:
        MaskError: a mask is missing, empty, of another size or not binary; a number is repeated or negative.
    """
    files = _numbered(folder)
    for number in _listed(folder / METADATA):
        if number not in files:
            raise MaskError(
                f'{folder / METADATA}: lists the mask {number}, but {folder / f"{number}.png"} is not there'
            )
    packer: LayerPacker | None = None
    for number, path in sorted(files.items()):
        mask = _binary(path, size)
        packer = packer or packer_for_file((mask.shape[0], mask.shape[1]), size)
        _add(packer, number, mask, str(path))
    if packer is None:
        raise MaskError(f'{folder}: holds no masks (0.png, 1.png, ...)')
    return packer.labels()


def labels_of_json(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """The label map of run lengths in JSON: a list of masks, or an object with ``annotations`` (SA-1B).

    Each mask is an object whose ``segmentation`` is a run-length code; the one at index i is region i + 1.

    Args:
        data: the content of the file.
        name: for messages.
        size: (H, W) that the masks must have; None takes any.

    Raises:
        MaskError: damaged, other content, masks that are empty or of several sizes, ids that are repeated or negative;
            file and index are named.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MaskError(f'{name}: damaged, or no JSON ({error})') from error
    if isinstance(content, dict) and 'images' in content:
        raise MaskError(f'{name}: holds the annotations of several images; write one file for each')
    masks = content.get('annotations') if isinstance(content, dict) else content
    if not isinstance(masks, list) or not all(isinstance(mask, dict) for mask in masks):
        raise MaskError(f"{name}: holds neither a list of masks nor 'annotations' with one")
    _check_ids([mask['id'] for mask in masks if 'id' in mask], name)
    packer = _stated_size(content, name, size)
    for index, mask in enumerate(masks):
        code = mask.get('segmentation', mask)
        if isinstance(code, list):
            raise MaskError(f'{name}: mask {index} is a polygon; only run-length codes are read')
        plane = mask_of_runs(code, f'{name}: mask {index}', size)
        packer = packer or packer_for_file((plane.shape[0], plane.shape[1]), size)
        _add(packer, index, plane, f'{name}: mask {index}')
        del plane  # before the next takes as much
    if packer is None:
        raise MaskError(f'{name}: holds no masks')
    return packer.labels()


def labels_of_palette(indices: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The label map of a palette image (H, W): index k is region k, 0 is no region."""
    return indices[None].astype(np.int32)


def labels_of_black_and_white(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The label map of a black and white image (H, W): white areas that touch along edges are regions, largest first.

    Areas of one size are in reading order.
    """
    count, parts, facts, _ = cv2.connectedComponentsWithStats(white.astype(np.uint8), connectivity=4)
    areas = facts[1:, cv2.CC_STAT_AREA]
    starts, flat = np.zeros(count, np.int64), parts.ravel()
    for begin in reversed(range(0, flat.size, _BLOCK)):  # from the end, so that the first place stays
        places = np.arange(begin, min(begin + _BLOCK, flat.size))[::-1]
        starts[flat[places]] = places
    ids = np.zeros(count, np.int32)
    ids[1 + np.lexsort((starts[1:], -areas))] = np.arange(1, count)
    return np.asarray(ids[parts][None], np.int32)


def is_folder_of_masks(path: Path) -> bool:
    """Whether a folder holds the masks of one image."""
    return (path / METADATA).is_file()


def _numbered(folder: Path) -> dict[int, Path]:
    """The PNG files of a folder by their numbers."""
    files: dict[int, Path] = {}
    for path in sorted(folder.glob('*.png')):
        if not path.stem.isdecimal():
            raise MaskError(f'{path}: the name of a mask is its number from 0 (0.png, 1.png, ...)')
        other = files.setdefault(int(path.stem), path)
        if other != path:
            raise MaskError(f'{path}: has the same number as {other.name}; remove one')
    return files


def _add(packer: LayerPacker, number: int, mask: NDArray[np.bool_], name: str) -> None:
    if mask.shape != packer.size:
        raise MaskError(f'{name}: has {mask.shape} pixels (H, W), the others {packer.size}')
    try:
        there = packer.add(number + 1, mask)
    except MaskError as error:
        raise MaskError(f'{name}: {error}') from error
    if not there:
        raise MaskError(f'{name}: is empty; leave it out')


def _listed(path: Path) -> list[int]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            ids = [row.get('id') for row in csv.DictReader(file)]
    except (OSError, ValueError, csv.Error) as error:
        raise MaskError(f'{path}: cannot be read ({error})') from error
    try:
        numbers = [int(str(value)) for value in ids]
    except ValueError as error:
        raise MaskError(f"{path}: its column 'id' does not hold numbers ({error})") from error
    _check_ids(numbers, str(path))
    return numbers


def _check_ids(ids: list[Any], name: str) -> None:
    if not all(type(number) is int and number >= 0 for number in ids):
        wrong = next(number for number in ids if type(number) is not int or number < 0)
        raise MaskError(f'{name}: the id {wrong!r} is no number from 0')
    repeated = [number for number, times in Counter(ids).items() if times > 1]
    if repeated:
        raise MaskError(f'{name}: the id {repeated[0]} is repeated')


def _stated_size(content: Any, name: str, size: tuple[int, int] | None) -> LayerPacker | None:
    """A packer of the size that a file of SA-1B states for its image; None if it states none."""
    about = content.get('image') if isinstance(content, dict) else None
    if not isinstance(about, dict) or 'height' not in about or 'width' not in about:
        return None
    stated = checked_size([about['height'], about['width']], f"{name}: 'image'", size)
    return packer_for_file(stated, size)


def _binary(path: Path, size: tuple[int, int] | None) -> NDArray[np.bool_]:
    """A mask (H, W) of a PNG that holds two values."""
    try:
        header = read_header(path.read_bytes(), str(path))
        if header.size is not None:
            checked_size(list(header.size), str(path), size)  # before it is decoded
        with Image.open(path, formats=['PNG']) as image:
            mode, pixels = image.mode, np.asarray(image)
    except ImageFileError as error:
        raise MaskError(str(error)) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f'{path}: cannot be read as a mask ({error})') from error
    if mode not in ('1', 'L') or ((pixels > 1) & (pixels < 255)).any():
        raise MaskError(f'{path}: is no binary mask (gray or black and white, 0 and 255); it is {mode}')
    return pixels > 0
