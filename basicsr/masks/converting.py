"""Convert masks of other tools to label maps for a folder of photos."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from basicsr.masks.files import mask_files_below, read_masks, stem_of
from basicsr.masks.making import begin, finished, list_images, size_of_photo
from basicsr.masks.mask_images import Companion
from basicsr.masks.other_tools import METADATA
from basicsr.masks.summary import Summary
from basicsr.utils.errors import MaskError
from basicsr.utils.files import files_below, read_file

SETTINGS = {'type': 'converted'}
"""The settings in the record of converted masks."""


def convert_masks(
    source: Path,
    target: Path,
    photos: Path | None = None,
    companions: Sequence[Companion] = (),
    force: bool = False,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> Summary:
    """Write ``<target>/<name>.png`` for the masks of every image below ``source``; sub-folders are kept.

    Existing files of the same masks are kept. Masks that cannot be read are counted as failed.

    Args:
        source: folder of masks in any format that :func:`~basicsr.masks.files.read_masks` supports.
        target: folder of the label maps; created if missing.
        photos: folder of the images, whose sizes the masks must have; each of them must have masks.
        companions: images to write for each label map; they need ``photos``.
        force: convert all masks again, even if the folder contains masks of other settings.
        progress: wraps the list of names, to show the progress.

    Raises:
        MaskError: not a folder, no masks, several files for one image, or the target contains other masks.
        OSError: the folder cannot be written, or the disk is full.
    """
    found = _found(source, target)
    images = {} if photos is None else {str(path.with_suffix('')): path for path in list_images(photos)}
    if companions and photos is None:
        raise MaskError('drawing masks needs the photos; add --input DIR')

    summary = begin(target, SETTINGS, companions, force)
    for stem in images.keys() - found.keys():
        summary.failed[str(images[stem])] = f'no masks in {source}'
    for name in progress([Path(stem) for stem in found if photos is None or stem in images]):
        stem, file = str(name), found[str(name)]
        photo = None if photos is None else photos / images[stem]
        with summary.attempt(name):
            path, stamp = target / f'{stem}.png', _stamp(file)
            kept = None if force else finished(path, photo, stamp)
            labels, _ = summary.keep_or_make(path, kept, stamp, lambda: read_masks(file, size_of_photo(photo)))  # noqa: B023
            for companion in companions:
                assert photo is not None  # noqa: S101 - companions need the photos, see above
                companion.write(images[stem], photo, labels, True)
    return summary


def _found(source: Path, target: Path) -> dict[str, Path]:
    """Return the mask files of a folder by the stems of their images."""
    if not source.is_dir():
        raise MaskError(f'{source} is not a folder')
    if source.resolve() == target.resolve():
        raise MaskError(f'{source}: choose another folder for the converted masks')
    keys = mask_files_below(source)
    twice = [stem for stem, times in Counter(map(stem_of, keys)).items() if times > 1]
    if twice:
        raise MaskError(f'{source}: several mask files for one image: {", ".join(sorted(twice)[:20])}')
    if not keys:
        raise MaskError(f'{source} contains no masks (.png, .npz, .npy, .json, or folders with {METADATA})')
    return {stem_of(key): source / key for key in keys}


def _stamp(file: Path) -> str:
    """Return a hash of the content of a mask file, or of all files in a folder of masks."""
    folder = file.parent
    parts = [folder / name for name in files_below(folder, ('.png', '.csv'))] if file.name == METADATA else [file]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f'{part.name}\0'.encode() + hashlib.sha256(read_file(part, MaskError)).digest())
    return digest.hexdigest()[:16]
