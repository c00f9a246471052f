"""Masks for a folder of photos: resumable, in shards, with a record of how they were made."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.images.files import IMAGE_SUFFIXES, image_size
from basicsr.masks.files import read_masks, read_stamp, write_label_map
from basicsr.masks.generator import MaskGenerator
from basicsr.masks.pictures import Companion, read_photo
from basicsr.masks.record import claim
from basicsr.utils.errors import BasicsrError, MaskError
from basicsr.utils.files import files_below

logger = logging.getLogger(__name__)


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

    def count(self, labels: NDArray[Any]) -> None:
        """Count the masks of one image and the pixels that they cover; ``labels`` is its label map (L, H, W)."""
        self.masks.append(len(np.unique(labels[labels > 0])))
        self.coverage.append(float((labels > 0).any(0).mean()))

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
    images = [Path(name) for name in files_below(folder, IMAGE_SUFFIXES)]
    if not images:
        raise MaskError(f'{folder} holds no images ({", ".join(IMAGE_SUFFIXES)})')
    by_stem: dict[Path, Path] = {}
    for path in images:
        other = by_stem.setdefault(path.with_suffix(''), path)
        if other != path:
            raise MaskError(
                f'{other} and {path} in {folder} would share the mask file {path.with_suffix(".png")}; rename one'
            )
    return images


def make_masks(
    source: Path,
    target: Path,
    generator: MaskGenerator,
    shard: tuple[int, int] = (0, 1),
    companions: Sequence[Companion] = (),
    force: bool = False,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    names: Sequence[Path] | None = None,
) -> Summary:
    """Make ``<target>/<name>.png`` for every image below ``source``; sub-folders are kept.

    Files that are there, whole and of the image's size, are kept; a file appears whole or not at all. An image that
    cannot be read is counted and the rest is done.

    Args:
        source: folder of photos.
        target: folder of the masks; made if it is missing.
        generator: what makes them.
        shard: (i, n): this process does every n-th image from the i-th, so that n processes share the work.
        companions: pictures to write beside the label maps.
        force: make all masks again, also where other settings were used before.
        progress: wraps the list of images, to show how far it is.
        names: images to do, relative to ``source``; None is all.

    Raises:
        MaskError: no images; a shard that does not exist; the folder holds masks made with other settings.
        OSError: the folder cannot be written, or the disk is full.
    """
    index, count = shard
    if not 0 <= index < count:
        raise MaskError(f'shard {index}/{count} does not exist; it goes from 0/{count} to {count - 1}/{count}')
    images = (list_images(source) if names is None else names)[index::count]
    claim(target, generator.settings, force)
    for companion in companions:
        companion.begin(generator.settings, force)
    stamp = hashlib.sha256(json.dumps(generator.settings, sort_keys=True).encode()).hexdigest()[:16]
    summary = Summary()
    for name in progress(images):
        path = (target / name).with_suffix('.png')
        try:
            labels = None if force else finished(path, source / name, stamp)
            made = labels is None
            if labels is None:
                start = time.perf_counter()
                labels = generator(read_photo(source / name))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_label_map(path, labels, stamp)
                summary.seconds.append(time.perf_counter() - start)
                summary.made += 1
            else:
                summary.kept += 1
            for companion in companions:
                companion.write(name, source / name, labels, made)
        except BasicsrError as error:
            logger.warning('%s: no masks: %s', name, error)
            summary.failed[str(name)] = str(error)
            continue
        summary.count(labels)
    return summary


def finished(path: Path, image: Path | None, stamp: str) -> NDArray[Any] | None:
    """Read the masks of a whole file that fits its image (None: any size) and has this stamp; None if it is another."""
    if not path.is_file() or read_stamp(path) != stamp:
        return None
    size = None if image is None else image_size(image)
    if image is not None and size is None:
        return None
    try:
        return read_masks(path, size)
    except MaskError:
        return None


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
