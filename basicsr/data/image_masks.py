"""Mask files of the images of a data set: find them, make label maps that are missing, read them."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from basicsr.data.pairing import match_masks
from basicsr.data.sample import Sample
from basicsr.data.stores.base import FolderStore, IoBackend, Store
from basicsr.data.stores.opening import open_store
from basicsr.masks.files import SUFFIXES, find_mask_file
from basicsr.masks.generator import build_generator
from basicsr.masks.label_map import small_labels
from basicsr.masks.making import make_masks, shards_of_environment, with_progress
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.signature import PathMark, TypeBlock

logger = logging.getLogger(__name__)

Generator = Annotated[dict[str, Any] | None, TypeBlock('mask generator')]
MaskFolder = Annotated[str, PathMark('folder', unless=('masks', 'auto'))]

FELZENSZWALB = {'type': 'felzenszwalb'}


@dataclass(frozen=True)
class ImageMasks:
    """The masks of the images of a data set, by number.

    Args:
        store: the mask files.
        keys: the key of each image's masks in ``store``.
        gray: whether they are gray images (CAT) instead of label maps.
    """

    store: Store
    keys: Sequence[str]
    gray: bool

    def added_to(self, sample: Sample, index: int) -> Sample:
        """Return the sample of image ``index`` with its masks.

        Raises:
            DataError: the file cannot be read.
            MaskError: it is not a mask file, or has a different size than the image.
        """
        key = self.keys[index]
        if self.gray:
            return replace(sample, masks=self.store.gray(key, sample.size)[None], is_gray=True)
        return replace(sample, masks=small_labels(self.store.labels(key, sample.size)))


def open_masks(
    masks: Literal['none', 'gray', 'regions', 'auto'],
    dataroot_mask: str | None,
    io_backend: IoBackend,
    lq: Store,
    keys: Sequence[str],
    generator: Mapping[str, Any] | None = None,
) -> ImageMasks | None:
    """Find the masks of the blurred images ``keys`` of ``lq``; None for 'none'.

    Args:
        masks: 'none', 'gray' images (CAT), or label maps or stacks of 'regions'; 'auto' makes the missing label maps.
        dataroot_mask: folder, LMDB or raw store of the masks.
        io_backend: how they are stored.
        lq: the blurred images.
        keys: those in use.
        generator: see :func:`make_missing_masks`; a warning says that it is ignored without 'auto'.

    Raises:
        ArgumentError: ``dataroot_mask`` is None, or is set for 'none'.
        DataError: masks are missing; the message says how to make them.
    """
    if masks != 'auto' and generator is not None:
        logger.warning('generator is ignored; it needs masks: auto')
    if masks == 'none':
        if dataroot_mask is not None:
            raise ArgumentError('dataroot_mask needs masks: regions, auto or gray')
        return None
    if dataroot_mask is None:
        raise ArgumentError(f'masks: {masks} needs dataroot_mask, the folder of the masks')
    if masks == 'auto':
        make_missing_masks(lq, keys, dataroot_mask, generator)
    gray, folder = masks == 'gray', Path(dataroot_mask).expanduser()
    labels = folder.with_name(f'{folder.name}_label_maps') if gray else folder
    advice = 'make the masks with:\n  python scripts/make_masks.py'
    advice += f' --input {shlex.quote(str(lq.root))} --output {shlex.quote(str(labels))}'
    advice += f' --gray {shlex.quote(str(folder))}' if gray else "\nor set 'masks: auto' to make them automatically"
    try:
        store = open_store(folder, io_backend, ('.png',) if gray else SUFFIXES)
    except DataError as error:
        raise DataError(f'{error}\n{advice}') from error
    return ImageMasks(store, match_masks(lq, keys, store, advice), gray)


def make_missing_masks(
    lq: Store, keys: Sequence[str], dataroot_mask: str, generator: Mapping[str, Any] | None = None
) -> None:
    """Make the label maps of blurred images that have none.

    Several processes (under torchrun or Slurm) share the work: each starts at another image and skips finished ones.

    Args:
        lq: the blurred images, a folder.
        keys: those in use.
        dataroot_mask: folder of the label maps; made if it is missing.
        generator: block of the mask generator; felzenszwalb with its defaults if None.

    Raises:
        DataError: the images or masks are in a database, or an image cannot be read.
        MaskError: the folder contains masks that were made with other settings.
        OSError: the folder cannot be written, or the disk is full.
    """
    target = Path(dataroot_mask).expanduser()
    if not isinstance(lq, FolderStore) or target.suffix in ('.lmdb', '.raw'):
        raise DataError(
            f"{target}: 'masks: auto' needs folders of files; make the masks of {lq.root} first, then pack them"
        )
    missing = [Path(key) for key in keys if find_mask_file(target, lq.stem(key)) is None]
    if not missing:
        return
    block = dict(generator or FELZENSZWALB)
    rank, world = shards_of_environment()
    first = rank * len(missing) // world
    logger.warning('%s: making %d label maps with %s', target, len(missing), block['type'])
    summary = make_masks(
        lq.root, target, build_generator(block), progress=with_progress, names=missing[first:] + missing[:first]
    )
    if summary.failed:
        reasons = '\n  '.join(f'{name}: {reason}' for name, reason in summary.failed.items())
        raise DataError(f'{target}: cannot make the masks of these images:\n  {reasons}')
