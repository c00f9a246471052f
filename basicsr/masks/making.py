"""Masks for a folder of photos: resumable, in shards, with a record of how they were made."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import basicsr
from basicsr.masks.files import read_masks, read_stamp, write_label_map
from basicsr.masks.generator import MaskGenerator
from basicsr.utils.errors import BasicsrError, MaskError
from basicsr.utils.files import whole_file
from basicsr.utils.image import IMAGE_SUFFIXES, imread

logger = logging.getLogger(__name__)

RECORD = 'masks.json'


@dataclass
class Summary:
    """What a run of :func:`make_masks` did.

    Args:
        made: images whose masks were made.
        kept: images whose masks were there already.
        failed: images without masks, by file, with the reason.
        masks: number of masks of each image that has any file.
        coverage: share of its pixels under at least one mask.
        seconds: spent on each image made.
    """

    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    masks: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def text(self) -> str:
        """A few lines for the end of a run."""
        lines = [f'{self.made} made, {self.kept} there already, {len(self.failed)} failed']
        if self.masks:
            low, high = min(self.masks), max(self.masks)
            mean, covered = sum(self.masks) / len(self.masks), 100 * sum(self.coverage) / len(self.coverage)
            lines.append(f'masks per image {mean:.1f} ({low} to {high}), coverage {covered:.1f} %')
        if self.seconds:
            lines.append(f'{sum(self.seconds) / len(self.seconds):.2f} s per image made')
        return '\n'.join([*lines, *(f'failed: {name}: {reason}' for name, reason in self.failed.items())])


def list_images(folder: Path) -> list[Path]:
    """All images below a folder, relative to it, sorted; hidden files and folders are left out.

    Raises:
        MaskError: no folder, no images, or two images that would share a mask file.
    """
    if not folder.is_dir():
        raise MaskError(f'{folder} is no folder')
    found = [path.relative_to(folder) for path in folder.rglob('*') if path.suffix.lower() in IMAGE_SUFFIXES]
    images = sorted(path for path in found if not any(part.startswith('.') for part in path.parts))
    if not images:
        raise MaskError(f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)})')
    by_stem: dict[Path, Path] = {}
    for path in images:
        other = by_stem.setdefault(path.with_suffix(''), path)
        if other != path:
            raise MaskError(f'{other} and {path} in {folder} would share the mask file {path.with_suffix(".png")}')
    return images


def make_masks(
    source: Path,
    target: Path,
    generator: MaskGenerator,
    shard: tuple[int, int] = (0, 1),
    overlays: Path | None = None,
    force: bool = False,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Summary:
    """Make ``<target>/<name>.png`` for every image below ``source``; sub-folders are kept.

    Files that are there, whole and of the image's size, are kept; a file appears whole or not at all. An image that
    cannot be read is counted and the rest is done.

    Args:
        source: folder of photos.
        target: folder of the masks; made if it is missing.
        generator: what makes them.
        shard: (i, n): this process does every n-th image from the i-th, so that n processes share the work.
        overlays: folder for pictures of the regions over the photos; None makes none.
        force: make all masks again, also where other settings were used before.
        progress: wraps the list of images, to show how far it is.

    Raises:
        MaskError: no images; a shard that does not exist; the folder holds masks made with other settings.
        OSError: the folder cannot be written, or the disk is full.
    """
    index, count = shard
    if not 0 <= index < count:
        raise MaskError(f'shard {index}/{count} does not exist; it goes from 0/{count} to {count - 1}/{count}')
    images = list_images(source)[index::count]
    _claim(target, generator.settings, force)
    stamp = hashlib.sha256(json.dumps(generator.settings, sort_keys=True).encode()).hexdigest()[:16]
    summary = Summary()
    for name in progress(images):
        path = (target / name).with_suffix('.png')
        try:
            labels = None if force else _finished(path, source / name, stamp)
            if labels is None:
                start = time.perf_counter()
                labels = generator(_photo(source / name))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_label_map(path, labels, stamp)
                summary.seconds.append(time.perf_counter() - start)
                summary.made += 1
            else:
                summary.kept += 1
            if overlays is not None:
                _write_overlay((overlays / name).with_suffix('.jpg'), source / name, labels)
        except BasicsrError as error:
            logger.warning('%s: no masks: %s', name, error)
            summary.failed[str(name)] = str(error)
            continue
        summary.masks.append(len(np.unique(labels[labels > 0])))
        summary.coverage.append(float((labels > 0).any(0).mean()))
    return summary


def read_record(folder: Path) -> dict[str, Any] | None:
    """How the masks in a folder were made; None if nothing is recorded.

    Raises:
        MaskError: the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise MaskError(f'{path}: damaged ({error}); remove it and make the masks again') from error
    if not isinstance(record, dict):
        raise MaskError(f'{path}: holds no settings; remove it and make the masks again')
    return record


def _claim(target: Path, settings: dict[str, Any], force: bool) -> None:
    """Write the record of a folder, or make sure that it says the same."""
    target.mkdir(parents=True, exist_ok=True)
    record = read_record(target)
    if record is not None and record.get('settings') != settings and not force:
        differing = sorted(
            key for key in {*settings, *record.get('settings', {})} if settings.get(key) != record['settings'].get(key)
        )
        raise MaskError(
            f'{target} holds masks made with other settings ({", ".join(differing)} differ); '
            'use another folder, or --force to make all of them again'
        )
    text = json.dumps({'settings': settings, 'basicsr': basicsr.__version__}, indent=2, sort_keys=True)
    with whole_file(target / RECORD) as file:
        file.write(f'{text}\n'.encode())


def _finished(path: Path, image: Path, stamp: str) -> NDArray[Any] | None:
    """The masks in a file that is whole, fits its image and was made with these settings; None if there are none."""
    if not path.is_file() or read_stamp(path) != stamp:
        return None
    try:
        with Image.open(image) as photo:
            size = photo.height, photo.width
        return read_masks(path, size)
    except (MaskError, OSError):
        return None


def _photo(path: Path) -> NDArray[np.uint8]:
    image = imread(path, channels=3)
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def _write_overlay(path: Path, photo: Path, labels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(overlay(_photo(photo), labels)).save(path, quality=90)


def overlay(image: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """The photo with its regions tinted and outlined, for people to look at.

    Args:
        image: (H, W, 3) RGB uint8.
        labels: label map (L, H, W).
    """
    tints = region_tints(labels)
    shown = image / 255 * (1 - tints[..., 3:]) + tints[..., :3] * tints[..., 3:]
    return np.asarray((shown * 255).round(), np.uint8)


def region_tints(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Tints and outlines of the regions alone, to be laid over any picture of that size.

    Args:
        labels: label map (L, H, W).

    Returns:
        (H, W, 4) RGBA in [0, 1]; alpha is 0 where no region is, 1 on the outlines.
    """
    from skimage.color import hsv2rgb
    from skimage.segmentation import find_boundaries

    colour = np.zeros((*labels.shape[1:], 3))  # times alpha, until the end
    alpha = np.zeros((*labels.shape[1:], 1))
    for layer in labels:
        hue = (np.arange(layer.max() + 1) * 0.618034) % 1  # neighbouring ids get distant colours
        colours = hsv2rgb(np.stack([hue, np.full_like(hue, 0.8), np.full_like(hue, 0.95)], -1))
        covered = np.where(layer[..., None] > 0, 0.35, 0.0)
        colour, alpha = colour * (1 - covered) + colours[layer] * covered, alpha * (1 - covered) + covered
        outline = find_boundaries(layer, mode='inner')
        colour[outline], alpha[outline] = (1.0, 0.85, 0.1), 1.0
    return np.concatenate([colour / np.maximum(alpha, 1e-9), alpha], -1)


def shards_of_environment() -> tuple[int, int]:
    """(rank, processes) under torchrun or Slurm, else (0, 1)."""
    for rank, world in (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_NTASKS')):
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def with_progress(images: Iterable[Path]) -> Iterator[Path]:
    """Show a bar with the time that is left."""
    from tqdm import tqdm

    yield from tqdm(list(images), unit='image', dynamic_ncols=True)
