"""Make masks for a folder of photos: resumable, in shards, with a record of the settings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from basicsr.images.files import IMAGE_SUFFIXES, image_size
from basicsr.masks.files import read_masks, read_stamp
from basicsr.masks.generator import MaskGenerator
from basicsr.masks.mask_images import Companion, read_photo
from basicsr.masks.record import claim_mask_folder, stamp_of
from basicsr.masks.summary import Summary
from basicsr.utils.errors import BasicsrError, DataError, MaskError
from basicsr.utils.files import files_below
from basicsr.utils.ordered import in_threads

_BATCHES_OF_THREAD = 4
"""Batches that each thread of another process makes in one call; more keep its network busy, fewer share better."""

Engine = Callable[[Callable[[Sequence[Path]], 'Summary'], Sequence[Sequence[Path]]], Iterable['Summary']]


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
        engine: calls a function for parts of the images, such as :class:`~basicsr.utils.ray_map.RayMap`; None is this
            process. In each process, as many threads work as the generator uses.
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
    work = MaskMaker(source, target, generator, stamp_of(generator.settings), tuple(companions), force, batch_size)
    together = batch_size  # images of a call
    if engine is not None and generator.threads > 1:
        together *= _BATCHES_OF_THREAD * generator.threads
    parts = _split(images, together)
    results = iter((partial(in_threads, generator.threads) if engine is None else engine)(work, parts))
    shown = iter(progress(images))
    for part in parts:
        try:
            summary.add(next(results))
        except DataError as error:  # the engine lost the part; errors of images are in its summary
            summary.fail(part, error)
        for _ in part:
            next(shown)
    next(shown, None)  # ends the bar
    return summary


@dataclass(frozen=True)
class MaskMaker:
    """Makes the masks of images, in batches and with the threads of the generator; see :func:`make_masks`."""

    source: Path
    target: Path
    generator: MaskGenerator
    stamp: str
    companions: tuple[Companion, ...]
    force: bool
    batch_size: int = 1

    def __call__(self, names: Sequence[Path]) -> Summary:
        """Make or keep the masks of images."""
        summary, batches = Summary(), _split(names, self.batch_size)
        for one in in_threads(min(self.generator.threads, len(batches)), self._batch, batches):
            summary.add(one)
        return summary

    def _batch(self, names: Sequence[Path]) -> Summary:
        summary, kept = Summary(), dict[Path, NDArray[Any] | None]()
        for name in names:
            with summary.attempt(name):
                kept[name] = None if self.force else finished(self._target(name), self.source / name, self.stamp)
        start, missing = time.perf_counter(), [name for name, labels in kept.items() if labels is None]
        ahead = self._together(missing) if len(missing) > 1 else {}
        share = (time.perf_counter() - start) / max(1, len(ahead))
        for name, labels in kept.items():
            photo, path = self.source / name, self._target(name)
            make = partial(self._made, photo, ahead.get(name))
            with summary.attempt(name):
                labels, made = summary.keep_or_make(path, labels, self.stamp, make, share * (name in ahead))
                for companion in self.companions:
                    companion.write(name, photo, labels, made)
        return summary

    def _target(self, name: Path) -> Path:
        return (self.target / name).with_suffix('.png')

    def _made(self, photo: Path, ready: NDArray[Any] | None) -> NDArray[Any]:
        if ready is not None:
            return ready
        image = read_photo(photo)
        try:
            return self.generator(image)
        except (RuntimeError, MemoryError) as error:
            reason = _reason_if_out_of_memory(error)
        advice = 'use a smaller photo, or for sam a smaller --set points_per_batch'
        raise MaskError(f'{photo}: its masks do not fit into memory; {advice} ({reason})')

    def _together(self, names: Sequence[Path]) -> dict[Path, NDArray[Any]]:
        """Make the masks of images in one call; those with an error are left out, and make their error alone.

        If the images do not fit into memory together, all are left out.
        """
        photos = {}
        for name in names:
            with suppress(BasicsrError):
                photos[name] = read_photo(self.source / name)
        try:
            return dict(zip(photos, self.generator.all_of(list(photos.values())), strict=True))
        except BasicsrError:
            return {}
        except (RuntimeError, MemoryError) as error:
            _reason_if_out_of_memory(error)
        return {}


def _split(names: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _reason_if_out_of_memory(error: Exception) -> str:
    """Return the first line of an error that means too little memory; raise others."""
    from basicsr.utils.device import is_out_of_memory  # imports torch, which other generators do not need

    if not is_out_of_memory(error):
        raise error
    return str(error).split('\n')[0]


def begin(target: Path, settings: dict[str, Any], companions: Sequence[Companion], force: bool) -> Summary:
    """Record the settings of a folder of masks, and begin a run."""
    claim_mask_folder(target, settings, force)
    for companion in companions:
        companion.begin(settings, force)
    return Summary()


def finished(path: Path, image: Path | None, stamp: str) -> NDArray[Any] | None:
    """Read the masks of a complete file with this stamp and the size of the image; None if there are none.

    Raises:
        MaskError: the image cannot be read.
    """
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
    """Return (rank, processes) under torchrun or Slurm's srun, else (0, 1).

    The number of tasks is that of the step: a batch script without srun is one process, whatever ``--ntasks`` it has.
    """
    for rank, world in (('RANK', 'WORLD_SIZE'), ('SLURM_PROCID', 'SLURM_STEP_NUM_TASKS')):
        if rank in os.environ and world in os.environ:
            return int(os.environ[rank]), int(os.environ[world])
    return 0, 1


def with_progress(images: Iterable[Path]) -> Iterator[Path]:
    """Show a progress bar."""
    from tqdm import tqdm

    yield from tqdm(list(images), unit='image', dynamic_ncols=True)
