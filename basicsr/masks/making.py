"""Make masks for a folder of photos: resumable, in shards, with a record of the settings."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.images.files import IMAGE_SUFFIXES, image_size
from basicsr.masks.files import read_masks, read_stamp, write_label_map
from basicsr.masks.generator import MaskGenerator
from basicsr.masks.mask_images import Companion, read_photo
from basicsr.masks.record import claim_mask_folder, stamp_of
from basicsr.utils.errors import BasicsrError, MaskError
from basicsr.utils.files import files_below
from basicsr.utils.ordered import in_threads

logger = logging.getLogger(__name__)

Engine = Callable[[Callable[[Sequence[Path]], 'Summary'], Sequence[Sequence[Path]]], Iterable['Summary']]


@dataclass
class Summary:
    """The result of :func:`make_masks`.

    Args:
        made: number of images whose masks were made.
        kept: number of images whose existing masks were kept.
        failed: images without masks, by file, with the reason.
        masks: number of masks of each image.
        coverage: share of pixels of each image in at least one mask.
        seconds: time for each image whose masks were made.
    """

    made: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    masks: list[int] = field(default_factory=list)
    coverage: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def attempt(self, name: Path | str) -> Iterator[None]:
        """Count an image as failed if the block raises an error of this package."""
        try:
            yield
        except BasicsrError as error:
            logger.warning('%s: no masks: %s', name, error)
            self.failed[str(name)] = str(error)

    def keep_or_make(
        self,
        path: Path,
        photo: Path | None,
        stamp: str,
        force: bool,
        make: Callable[[], NDArray[Any]],
        spent: float = 0.0,
    ) -> tuple[NDArray[Any], bool]:
        """Read the label map (L, H, W) in a file, or make and write it.

        Args:
            path: the file.
            photo: the image, if known.
            stamp: stamp of the file; changes with the masks.
            force: make it in any case.
            make: returns the label map.
            spent: seconds that were already spent on it.

        Returns:
            the label map, and whether it was made.
        """
        labels, start = None if force else _finished(path, photo, stamp), time.perf_counter()
        made = labels is None
        if labels is None:
            labels = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_map(path, labels, stamp)
            self.seconds.append(time.perf_counter() - start + spent)
        self.made, self.kept = self.made + made, self.kept + (not made)
        self.masks.append(len(np.unique(labels[labels > 0])))
        self.coverage.append(float((labels > 0).any(0).mean()))
        return labels, made

    def add(self, other: Summary) -> None:
        """Add the images of another summary."""
        self.made, self.kept = self.made + other.made, self.kept + other.kept
        self.failed |= other.failed
        self.masks += other.masks
        self.coverage += other.coverage
        self.seconds += other.seconds

    def text(self) -> str:
        """Return a few lines to print."""
        lines = [f'{self.made} made, {self.kept} kept, {len(self.failed)} failed']
        if self.masks:
            low, high = min(self.masks), max(self.masks)
            mean, covered = sum(self.masks) / len(self.masks), 100 * sum(self.coverage) / len(self.coverage)
            lines.append(f'masks per image {mean:.1f} ({low} to {high}), coverage {covered:.1f} %')
        if self.seconds:
            lines.append(f'{sum(self.seconds) / len(self.seconds):.2f} s per generated image')
        return '\n'.join([*lines, *(f'failed: {name}: {reason}' for name, reason in self.failed.items())])


def list_images(folder: Path) -> list[Path]:
    """Return all images below a folder as relative paths, sorted, without hidden files and folders.

    Raises:
        MaskError: not a folder, no images, or two images that would share a mask file.
    """
    if not folder.is_dir():
        raise MaskError(f'{folder} is not a folder')
    images = [Path(name) for name in files_below(folder, IMAGE_SUFFIXES)]
    if not images:
        raise MaskError(f'{folder} contains no images ({", ".join(IMAGE_SUFFIXES)})')
    by_stem: dict[Path, Path] = {}
    for path in images:
        other = by_stem.setdefault(path.with_suffix(''), path)
        if other != path:
            shared = path.with_suffix('.png')
            raise MaskError(f'{folder}: {other} and {path} would share the mask file {shared}; rename one')
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
    engine: Engine | None = None,
    batch_size: int = 1,
) -> Summary:
    """Make ``<target>/<name>.png`` for every image below ``source``; sub-folders are kept.

    Complete files of the image's size are kept; a file appears complete or not at all. An image that cannot be read is
    counted as failed.

    Args:
        source: folder of photos.
        target: folder of the masks; created if missing.
        generator: the mask generator.
        shard: (i, n): process every n-th image from the i-th on, so that n processes share the work.
        companions: images to write for each label map.
        force: recreate all masks, even if the folder contains masks of other settings.
        progress: wraps the list of images, to show the progress.
        names: images to process, relative to ``source``; None for all.
        engine: calls a function for each batch of images, such as :class:`~basicsr.utils.ray_map.RayMap`; None is
            this process, with as many threads as the generator uses.
        batch_size: images that a network encodes together.

    Raises:
        MaskError: no images, an invalid shard, or a folder with masks of other settings.
        OSError: the folder cannot be written, or the disk is full.
    """
    index, count = shard
    if not 0 <= index < count:
        raise MaskError(f'shard {index}/{count} does not exist; it goes from 0/{count} to {count - 1}/{count}')
    images = (list_images(source) if names is None else names)[index::count]
    summary = begin(target, generator.settings, companions, force)
    work = MaskMaker(source, target, generator, stamp_of(generator.settings), tuple(companions), force)
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    results = (partial(in_threads, generator.threads) if engine is None else engine)(work, batches)
    shown = iter(progress(images))
    for batch, one in zip(batches, results, strict=True):
        summary.add(one)
        for _ in batch:
            next(shown)
    next(shown, None)  # ends the bar
    return summary


@dataclass(frozen=True)
class MaskMaker:
    """Makes the masks of a batch of images; see :func:`make_masks`."""

    source: Path
    target: Path
    generator: MaskGenerator
    stamp: str
    companions: tuple[Companion, ...]
    force: bool

    def __call__(self, names: Sequence[Path]) -> Summary:
        """Make or keep the masks of images."""
        summary, start = Summary(), time.perf_counter()
        ahead = self._together(names) if len(names) > 1 else {}
        share = (time.perf_counter() - start) / max(1, len(ahead))
        for name in names:
            photo, path = self.source / name, self._target(name)
            make = partial(self._made, photo, ahead.get(name))
            with summary.attempt(name):
                labels, made = summary.keep_or_make(path, photo, self.stamp, self.force, make, share * (name in ahead))
                for companion in self.companions:
                    companion.write(name, photo, labels, made)
        return summary

    def _target(self, name: Path) -> Path:
        return (self.target / name).with_suffix('.png')

    def _made(self, photo: Path, ready: NDArray[Any] | None) -> NDArray[Any]:
        return self.generator(read_photo(photo)) if ready is None else ready

    def _together(self, names: Sequence[Path]) -> dict[Path, NDArray[Any]]:
        """Make the masks of images in one call; an image with an error is left out, and makes its error alone."""
        photos = {}
        for name in names:
            with suppress(BasicsrError):
                if self.force or _finished(self._target(name), self.source / name, self.stamp) is None:
                    photos[name] = read_photo(self.source / name)
        with suppress(BasicsrError):
            return dict(zip(photos, self.generator.all_of(list(photos.values())), strict=True))
        return {}


def begin(target: Path, settings: dict[str, Any], companions: Sequence[Companion], force: bool) -> Summary:
    """Record the settings of a folder of masks, and begin a run."""
    claim_mask_folder(target, settings, force)
    for companion in companions:
        companion.begin(settings, force)
    return Summary()


def _finished(path: Path, image: Path | None, stamp: str) -> NDArray[Any] | None:
    """Read the masks of a complete file with this stamp and the size of the image; None if there are none."""
    if not path.is_file() or read_stamp(path) != stamp:
        return None
    try:
        return read_masks(path, size_of_photo(image))
    except MaskError:
        return None


def size_of_photo(photo: Path | None) -> tuple[int, int] | None:
    """Return the size (H, W) of a photo; None without one.

    Raises:
        MaskError: the photo cannot be read.
    """
    size = None if photo is None else image_size(photo)
    if photo is not None and size is None:
        raise MaskError(f'{photo}: not a readable image')
    return size


def shards_of_environment() -> tuple[int, int]:
    """Return (rank, processes) under torchrun or Slurm, else (0, 1)."""
    for rank, world in (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_NTASKS')):
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def with_progress(images: Iterable[Path]) -> Iterator[Path]:
    """Show a progress bar."""
    from tqdm import tqdm

    yield from tqdm(list(images), unit='image', dynamic_ncols=True)
