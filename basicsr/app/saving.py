"""Results for download: blended with the chosen strength, one by one or in one archive."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2

from basicsr.app.facts import ShownResult
from basicsr.images.files import imread
from basicsr.images.photo import load_photo
from basicsr.images.photo_files import save_photo
from basicsr.utils.files import whole_file


def blended(source: Path, pixels: Path, result: Path, strength: float, folder: Path) -> Path:
    """Return the file of a result whose change is scaled, in full size and depth.

    Args:
        source: the photo.
        pixels: those of the result, PNG.
        result: the file of the result.
        strength: factor of the change, 0 to 1; 1 is the result itself.
        folder: for the file, which is named like the result.

    Raises:
        ImageFileError: the photo cannot be read any more, or the result cannot be written.
        OSError: the disk is full.
    """
    if strength >= 1:
        return result
    photo = load_photo(source)
    other = imread(pixels)
    mixed = cv2.addWeighted(photo.pixels, 1 - strength, other, strength, 0).reshape(photo.pixels.shape)
    path = folder / result.name
    save_photo(path, replace(photo, pixels=mixed))
    return path


def result_file(source: Path, done: ShownResult, strength: float) -> Path:
    """Return the file of a result with the chosen strength. Blended files of earlier downloads are removed.

    Args:
        source: the photo.
        done: its result.
        strength: factor of the change, 0 to 1.

    Raises:
        ImageFileError: the photo cannot be read any more, or the result cannot be written.
        OSError: the disk is full.
    """
    folder = done.result.parent / f'blended-{secrets.token_hex(8)}'  # a new address starts a new download
    for other in folder.parent.glob('blended-*'):
        shutil.rmtree(other, ignore_errors=True)
    folder.mkdir()
    return blended(source, done.pixels, done.result, strength, folder)


def archive(files: Iterable[Path], path: Path) -> Path:
    """Write files into a ZIP archive, without compression; equal names get a number.

    Args:
        files: the files; each is read only when it is its turn.
        path: of the archive.

    Raises:
        OSError: the disk is full, or a file does not exist any more.
    """
    taken: set[str] = set()
    with whole_file(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as zipped:
        for each in files:
            name, number = each.name, 1
            while name.casefold() in taken:
                number += 1
                name = f'{each.stem} ({number}){each.suffix}'
            taken.add(name.casefold())
            zipped.write(each, name)
    return path
