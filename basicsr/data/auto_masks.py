"""``masks: auto``: a data set makes the label maps that are missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from basicsr.data.stores.base import FolderStore, Store
from basicsr.masks.files import find_mask_file
from basicsr.masks.generator import build_generator
from basicsr.masks.making import make_masks, shards_of_environment, with_progress
from basicsr.utils.errors import DataError
from basicsr.utils.signature import PathMark, TypeBlock

logger = logging.getLogger(__name__)

Masks = Literal['files', 'auto']
Generator = Annotated[dict[str, Any] | None, TypeBlock('mask generator')]
MaskFolder = Annotated[str, PathMark('folder', unless=('masks', 'auto'))]

FELZENSZWALB = {'type': 'felzenszwalb'}


def make_missing_masks(
    lq: Store, keys: Sequence[str], dataroot_mask: str, generator: Mapping[str, Any] | None = None
) -> None:
    """Make the label maps of blurred images that have none.

    Several processes (under torchrun or Slurm) share the work: each starts elsewhere and leaves out what is there.

    Args:
        lq: the blurred images, a folder.
        keys: those in use.
        dataroot_mask: folder of the label maps; made if it is missing.
        generator: what makes them; felzenszwalb with its defaults if None.

    Raises:
        DataError: the images or masks lie in a data base, or an image cannot be read.
        MaskError: the folder holds masks that were made with other settings.
        OSError: the folder cannot be written, or the disk is full.
    """
    target = Path(dataroot_mask).expanduser()
    if not isinstance(lq, FolderStore) or target.suffix in ('.lmdb', '.raw'):
        raise DataError(
            f"{target}: 'masks: auto' makes files for files; make the masks of {lq.root} first, then pack them"
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
        raise DataError(f'{target}: no masks could be made of these images:\n  {reasons}')
