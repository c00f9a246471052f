"""Convert masks of other tools, in any format that is read, into label maps for a folder of photos."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from basicsr.images.files import image_size
from basicsr.masks.files import mask_files_below, read_masks, stem_of, write_label_map
from basicsr.masks.making import Summary, finished, list_images
from basicsr.masks.other_tools import METADATA
from basicsr.masks.pictures import Companion
from basicsr.masks.record import claim
from basicsr.utils.errors import BasicsrError, MaskError
from basicsr.utils.files import files_below

logger = logging.getLogger(__name__)

SETTINGS = {'type': 'converted'}
"""What the record of converted masks states."""


def convert_masks(
    source: Path,
    target: Path,
    photos: Path | None = None,
    companions: Sequence[Companion] = (),
    force: bool = False,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Summary:
    """Write ``<target>/<name>.png`` for the masks of every image below ``source``; sub-folders are kept.

    Files that were made of the same masks are kept. Masks that cannot be read are counted and the rest is done.

    Args:
        source: folder of masks in any format that :func:`~basicsr.masks.files.read_masks` reads.
        target: folder of the label maps; made if it is missing.
        photos: the folder of the images, whose sizes the masks must have; every one of them must have masks.
        companions: pictures to write beside the label maps; they need ``photos``.
        force: convert all masks again, and into a folder of masks that were made otherwise.
        progress: wraps the list of names, to show how far it is.

    Raises:
        MaskError: no folder, no masks, several files for one image, or the target holds other masks.
        OSError: the folder cannot be written, or the disk is full.
    """
    found = _found(source, target)
    images = {} if photos is None else {str(path.with_suffix('')): path for path in list_images(photos)}
    if companions and photos is None:
        raise MaskError('pictures of the masks need the photos: add --input DIR')
    claim(target, SETTINGS, force)
    for companion in companions:
        companion.begin(SETTINGS, force)
    summary = Summary()
    for stem in images.keys() - found.keys():
        summary.failed[str(images[stem])] = f'{source} holds no masks for it'
    for name in progress([Path(stem) for stem in found if photos is None or stem in images]):
        photo = None if photos is None else photos / images[str(name)]
        path = target / f'{name}.png'
        try:
            labels = _convert(found[str(name)], path, photo, force, summary)
            for companion in companions:
                assert photo is not None  # noqa: S101 - companions need the photos, see above
                companion.write(images[str(name)], photo, labels, True)
        except BasicsrError as error:
            logger.warning('%s: no masks: %s', name, error)
            summary.failed[str(name)] = str(error)
            continue
        summary.count(labels)
    return summary


def _found(source: Path, target: Path) -> dict[str, Path]:
    """The mask files of a folder by the stems of their images."""
    if not source.is_dir():
        raise MaskError(f'{source} is no folder')
    if source.resolve() == target.resolve():
        raise MaskError(f'{source}: masks are converted into another folder')
    keys = mask_files_below(source)
    twice = [stem for stem, times in Counter(map(stem_of, keys)).items() if times > 1]
    if twice:
        raise MaskError(f'{source}: several mask files for one image: {", ".join(sorted(twice)[:20])}')
    if not keys:
        raise MaskError(f'{source} holds no masks (.png, .npz, .npy, .json, or folders with {METADATA})')
    return {stem_of(key): source / key for key in keys}


def _convert(file: Path, path: Path, photo: Path | None, force: bool, summary: Summary) -> NDArray[Any]:
    """Make sure that ``path`` holds the masks of ``file``, and return them."""
    size = None if photo is None else image_size(photo)
    if photo is not None and size is None:
        raise MaskError(f'{photo}: its image cannot be read')
    stamp = _stamp(file)
    kept = None if force else finished(path, photo, stamp)
    if kept is not None:
        summary.kept += 1
        return kept
    labels = read_masks(file, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(path, labels, stamp)
    summary.made += 1
    return labels


def _stamp(file: Path) -> str:
    """What changes with the content of a mask file, or of any file in a folder of masks."""
    folder = file.parent
    parts = [folder / name for name in files_below(folder, ('.png', '.csv'))] if file.name == METADATA else [file]
    digest = hashlib.sha256()
    for part in parts:
        try:
            digest.update(f'{part.name}\0'.encode() + hashlib.sha256(part.read_bytes()).digest())
        except OSError as error:
            raise MaskError(f'{part}: cannot be read ({error.strerror or error})') from error
    return digest.hexdigest()[:16]
