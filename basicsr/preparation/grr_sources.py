"""Sources of row-dependent blur: clips without gaps, and photos large enough for the crops."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from basicsr.data.sharp_sources import photos_in
from basicsr.images.files import image_size
from basicsr.utils.errors import DataError, some_of

_NUMBER = re.compile(r'^(.*?)(\d+)$')
_SHOWN = 5


def clips_in(folders: Sequence[str], least: int) -> dict[str, list[Path]]:
    """Return the clips in folders and their sub-folders: the frames of each in order, by the name of the clip.

    Every folder with images is one clip; the names of its images end with consecutive numbers (``000047.png``).

    Args:
        folders: with frames, or with folders of frames.
        least: number of frames that a clip needs.

    Raises:
        DataError: a folder is missing or empty; a clip has a gap, frames of several sizes, or too few frames; two clips
            have the same name.
    """
    clips: dict[str, list[Path]] = {}
    for folder in folders:
        members: dict[Path, list[Path]] = defaultdict(list)
        for path in photos_in([folder]):
            members[path.parent].append(path)
        root = Path(folder).expanduser()
        for place, frames in sorted(members.items()):
            name = '-'.join(place.relative_to(root).parts) or place.resolve().name
            _claim(clips, name, place)
            clips[name] = _ordered(place, frames, least)
            _require_one_size(place, clips[name])
    return clips


def photos_by_name(folders: Sequence[str], size: tuple[int, int] | None) -> dict[str, list[Path]]:
    """Return all photos in folders and their sub-folders by their names without extension, each in a list of one.

    Args:
        folders: of photos.
        size: height and width that a photo needs; None accepts all.

    Raises:
        DataError: a folder is missing or empty; a photo is smaller than the size; two have the same name.
    """
    photos: dict[str, list[Path]] = {}
    small = []
    for folder in folders:
        root = Path(folder).expanduser()
        for path in photos_in([folder]):
            name = '-'.join([*path.relative_to(root).parts[:-1], path.stem])
            _claim(photos, name, path)
            photos[name] = [path]
            measured = image_size(path)
            if size is not None and measured is not None and (measured[0] < size[0] or measured[1] < size[1]):
                small.append(f'{path} ({measured[1]}×{measured[0]})')
    if small:
        raise DataError(
            f'photos of at least {size and size[0]} rows and {size and size[1]} columns are needed; use a smaller '
            f'--crop, or remove {some_of(small, _SHOWN)}'
        )
    return photos


def _claim(known: dict[str, list[Path]], name: str, place: Path) -> None:
    if name in known:
        raise DataError(f'{place} and {known[name][0]}: both would be the sequence {name}; rename one of them')


def _ordered(place: Path, frames: Sequence[Path], least: int) -> list[Path]:
    numbered: dict[int, Path] = {}
    prefixes: dict[str, Path] = {}
    for path in frames:
        match = _NUMBER.match(path.stem)
        if match is None:
            raise DataError(f'{path}: the names of the frames of a clip end with their numbers (000047.png)')
        prefixes.setdefault(match[1], path)
        if int(match[2]) in numbered and len(prefixes) == 1:
            raise DataError(f'{path} and {numbered[int(match[2])]}: two frames have the same number')
        numbered[int(match[2])] = path
    if len(prefixes) > 1:
        names = some_of([path.name for path in prefixes.values()], _SHOWN)
        raise DataError(f'{place}: several clips in one folder ({names}); give each its own folder')
    order = sorted(numbered)
    for before, after in itertools.pairwise(order):
        if after != before + 1:
            missing = f'{after - before - 1} frame{"s" if after - before > 2 else ""}'
            raise DataError(
                f'{place}: {missing} missing between {numbered[before].name} and {numbered[after].name}; row-dependent '
                'blur needs consecutive frames. Add them, or move the frames after the gap to another folder'
            )
    if len(order) < least:
        raise DataError(f'{place}: {len(order)} frames; an exposure of the last row needs {least} (--exposure)')
    return [numbered[number] for number in order]


def _require_one_size(place: Path, frames: Sequence[Path]) -> None:
    known: dict[tuple[int, int], Path] = {}
    for path in frames:
        size = image_size(path)
        if size is not None:  # reading it will say what is wrong with it
            known.setdefault(size, path)
    if len(known) > 1:
        shown = some_of([f'{path.name} has {size[1]}×{size[0]}' for size, path in known.items()], _SHOWN)
        raise DataError(f'{place}: the frames of a clip must have one size, but {shown} pixels')
