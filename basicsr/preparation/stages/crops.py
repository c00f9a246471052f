"""Stage ``crops``: cut training images into overlapping crops, with the windows and names of the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from basicsr.images.arrays import Array
from basicsr.images.files import image_size, imread
from basicsr.preparation.output_files import save_png
from basicsr.preparation.plan import CROPS, Plan
from basicsr.preparation.stages.base import StageCounts, files_in, sum_of_jobs
from basicsr.preparation.worker_pool import Pool
from basicsr.utils.errors import ArgumentError, ImageFileError

Window = tuple[int, int, int, int]
"""Top, left, height, width."""


def run(plan: Plan, part: str, pool: Pool) -> StageCounts:
    """Cut the images of a part."""
    jobs = [
        (image, plan.out / part / target, *plan.crop, plan.force)
        for source, target in CROPS.items()
        for image in files_in(plan.out / part / source)
    ]
    return sum_of_jobs(pool.run(crop_image, jobs, f'{part}: crops'))


def settings(plan: Plan, part: str) -> dict[str, Any]:
    """Return the settings that determine the crops."""
    return {'size': plan.crop[0], 'step': plan.crop[1]}


def crop_image(image: Path, folder: Path, size: int, step: int, again: bool = False) -> tuple[int, int]:
    """Write the missing crops of an image.

    Args:
        image: the file.
        folder: of the crops.
        size: side of the windows, in pixels.
        step: distance between windows, in pixels.
        again: write all crops.

    Returns:
        number of crops written, and of crops kept.

    Raises:
        ImageFileError: the image cannot be read.
    """
    shape = image_size(image)
    if shape is None:
        imread(image)  # reports the reason
        raise ImageFileError(f'{image}: its size cannot be read')
    crops = {folder / f'{name}.png': window for name, window in named_windows(image.stem, shape, size, step).items()}
    missing = {path: window for path, window in crops.items() if again or image_size(path) != window[2:]}
    if missing:
        pixels = imread(image)
        for path, window in missing.items():
            save_png(path, cut(pixels, window))
    return len(missing), len(crops) - len(missing)


def crop_windows(height: int, width: int, size: int = 512, step: int = 256, threshold: int = 0) -> list[Window]:
    """Return the windows that cover an image, row by row.

    Windows start every ``step`` pixels. Another window ends at the border if more than ``threshold`` pixels would not
    be covered. An image smaller than a window is a single, smaller window.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: side of a window.
        step: distance between the starts of neighbours.
        threshold: number of rows or columns at the end that may remain uncovered.

    Returns:
        (top, left, height, width) of each window.

    Raises:
        ArgumentError: a size or step below 1, or a negative threshold.

    >>> crop_windows(720, 600)
    [(0, 0, 512, 512), (0, 88, 512, 512), (208, 0, 512, 512), (208, 88, 512, 512)]
    """
    if min(height, width, size, step) < 1 or threshold < 0:
        raise ArgumentError(
            f'sizes and steps must be at least 1 and the threshold at least 0: image {height}x{width}, crops of {size} '
            f'every {step}, threshold {threshold}'
        )
    rows, columns = _starts(height, size, step, threshold), _starts(width, size, step, threshold)
    return [(top, left, min(size, height), min(size, width)) for top in rows for left in columns]


def crop_name(stem: str, number: int) -> str:
    """Return the name of the crop with this number, counted from 0: ``<stem>_s001`` is the first."""
    return f'{stem}_s{number + 1:03d}'


def named_windows(stem: str, image: tuple[int, int], size: int, step: int) -> dict[str, Window]:
    """Return the windows of an image of ``image`` (H, W) pixels by the names of their crops."""
    return {crop_name(stem, number): window for number, window in enumerate(crop_windows(*image, size, step))}


def cut(pixels: Array, window: Window) -> Array:
    """Return the window of (H, W, ...)."""
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def _starts(length: int, size: int, step: int, threshold: int) -> list[int]:
    if length <= size:
        return [0]
    starts = list(range(0, length - size + 1, step))
    if length - size - starts[-1] > threshold:
        starts.append(length - size)
    return starts
