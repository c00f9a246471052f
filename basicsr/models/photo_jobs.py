"""Photos and videos that a command line names, and where their results go."""

from __future__ import annotations

import glob
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basicsr.utils.errors import DataError, some_of
from basicsr.utils.photo import PHOTO_SUFFIXES
from basicsr.utils.photo_files import result_suffix
from basicsr.utils.unread_files import RAW_SUFFIXES, UNREAD_SUFFIXES
from basicsr.utils.videos import VIDEO_SUFFIXES

_KEPT_AS_VIDEO = ('.mp4', '.mov', '.avi', '.mkv')


@dataclass(frozen=True)
class Job:
    """One photo or video, and the files that come of it; None for those that nobody wants.

    Args:
        source: the file.
        output: its result.
        side_by_side: photo and result in one picture, or in one video, the photo left.
        masks: the label map; a picture of the regions lies beside it, ``<stem>_shown.jpg``.
        kernel: the blur kernel, without extension: a ``.npy`` and a ``.png`` file.
        below: the sub-folder in which a pattern has found the source; the results lie in one of the same name.
    """

    source: Path
    output: Path | None
    side_by_side: Path | None = None
    masks: Path | None = None
    kernel: Path | None = None
    below: Path = Path()

    @property
    def is_video(self) -> bool:
        """Whether the source is a video, by its name."""
        return _is_video(self.source)

    def files(self) -> list[Path]:
        """Everything that will be written."""
        found = [path for path in (self.output, self.side_by_side) if path is not None]
        if self.masks is not None:
            found += [self.masks, shown_masks(self.masks)]
        if self.kernel is not None:
            found += [self.kernel.with_name(f'{self.kernel.name}{suffix}') for suffix in ('.npy', '.png')]
        return found


@dataclass
class Inputs:
    """What a command line names.

    Args:
        files: photos and videos, each once.
        missing: what names no file, with the reason.
        notes: what was left out on purpose.
        below: sub-folders in which patterns have found files.
    """

    files: list[Path] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    below: dict[Path, Path] = field(default_factory=dict)


def list_inputs(names: Iterable[str | Path]) -> Inputs:
    """The files that names stand for.

    Args:
        names: files, folders (the photos directly in them, hidden ones left out), or patterns with ``*``, ``?``,
            ``[...]`` and ``**``, whose sub-folders are kept.
    """
    inputs, seen = Inputs(), set()
    for name in names:
        try:
            found = _files_of(str(name), inputs)
        except OSError as error:  # not ours to read, or a name that is too long
            inputs.missing[str(name)] = f'cannot be read ({error.strerror or error})'
            continue
        for path in found:
            if path.resolve() not in seen:
                seen.add(path.resolve())
                inputs.files.append(path)
    return inputs


def _files_of(name: str, inputs: Inputs) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        # links that lead nowhere are taken as well, so that they are named
        visible = sorted(p for p in path.iterdir() if not p.name.startswith('.') and (p.is_file() or not p.exists()))
        photos = [p for p in visible if p.suffix.lower() in PHOTO_SUFFIXES]
        videos = [p for p in visible if p.suffix.lower() in VIDEO_SUFFIXES]
        if videos:
            inputs.notes.append(f'{name}: {len(videos)} videos left out; name those that are to be deblurred')
        _note_unread(name, visible, inputs)
        if not photos:
            inputs.missing[name] = f'no photos in this folder ({", ".join(PHOTO_SUFFIXES)})'
        return photos
    if path.exists():
        return [path]
    if not glob.has_magic(name):
        inputs.missing[name] = 'no such file or folder'
        return []
    known = (*PHOTO_SUFFIXES, *VIDEO_SUFFIXES)
    matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207 - patterns may be absolute
    found = [p for p in matches if p.suffix.lower() in known and p.is_file()]
    _note_unread(name, matches, inputs)
    root = _fixed_part(path)
    inputs.below |= {p: p.parent.relative_to(root) for p in found}
    if not found:
        inputs.missing[name] = 'matches no photo or video'
    return found


def _fixed_part(pattern: Path) -> Path:
    """The folder of a pattern above its first wildcard."""
    parts = list(itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts[:-1]))
    return Path(*parts)


def _note_unread(name: str, files: Iterable[Path], inputs: Inputs) -> None:
    """Name the files that are images by their extensions, but none that are read."""
    raw = [p.name for p in files if p.suffix.lower() in RAW_SUFFIXES]
    others = [p.name for p in files if p.suffix.lower() in UNREAD_SUFFIXES and p.name not in raw]
    if raw:
        inputs.notes.append(f'{name}: camera raw left out, develop it to TIFF or JPEG first: {some_of(raw)}')
    if others:
        inputs.notes.append(f'{name}: left out, save them as JPEG, PNG or TIFF first: {some_of(others)}')


def plan(inputs: Inputs, folder: Path, suffix: str, extras: Sequence[str] = ()) -> list[Job]:
    """Where the results of all inputs go.

    Earlier results among the inputs are left out: who deblurs a folder into itself wants no ``x_deblurred_deblurred``.

    Args:
        inputs: of :func:`list_inputs`; files whose results clash go to its ``missing``, what is left out to its
            ``notes``.
        folder: of the results.
        suffix: added to the names.
        extras: what is wanted beside the results: ``side_by_side``, ``masks``, ``kernel``.

    Raises:
        DataError: a result would take the place of an input.
    """
    for extra in ('masks', 'kernel'):
        for path in [path for path in inputs.files if extra in extras and _is_video(path)]:
            inputs.missing[str(path)] = f'--save-{extra} is for photos, and this is a video; run it without'
            inputs.files.remove(path)
    jobs = _jobs(inputs, folder, suffix, extras)
    everything = _jobs(inputs, folder, suffix, ('side_by_side', 'masks', 'kernel'))
    results = {path.resolve(): job.source for job in everything for path in job.files()}
    earlier = [p for p in inputs.files if results.get(p.resolve(), p) != p] if suffix else []
    if earlier:
        inputs.notes.append(f'{len(earlier)} earlier results left out, such as {earlier[0]}')
        inputs.files = [path for path in inputs.files if path not in earlier]
        jobs = _jobs(inputs, folder, suffix, extras)
    sources = {path.resolve() for path in inputs.files}
    taken: dict[Path, Path] = {}
    kept = []
    for job in jobs:
        files = [path.resolve() for path in job.files()]
        over = next((path for path in files if path in sources), None)
        if over is not None:
            raise DataError(
                f'{over} would be overwritten by the result of {job.source.name}; '
                'choose another output folder or suffix'
            )
        clash = next((taken[path] for path in files if path in taken), None)
        if clash is not None:
            inputs.missing[str(job.source)] = (
                f'its result would have the name of that of {clash}; run it with another output folder or suffix'
            )
            continue
        taken.update(dict.fromkeys(files, job.source))
        kept.append(job)
    return kept


def left_to_do(jobs: Sequence[Job], inputs: Inputs, overwrite: bool) -> list[Job]:
    """The jobs of which nothing is there yet.

    Args:
        jobs: of :func:`plan`.
        inputs: what is there whole goes to its ``notes``; what is there in part, as a run leaves it that was ended in
            the middle or asked for less, to its ``missing``.
        overwrite: all of them, whatever is there.
    """
    todo = []
    for job in jobs:
        there = [path for path in job.files() if path.exists()]
        absent = [path for path in job.files() if path not in there]
        if not there or overwrite:
            todo.append(job)
        elif absent:
            reason = f'{there[0]} is there already, {absent[0]} is not; --overwrite makes both'
            inputs.missing[str(job.source)] = reason
        else:
            inputs.notes.append(f'{job.source}: kept, {there[0]} is there already (--overwrite replaces it)')
    return todo


def _jobs(inputs: Inputs, folder: Path, suffix: str, extras: Sequence[str]) -> list[Job]:
    places = [inputs.below.get(path, Path()) for path in inputs.files]
    stems = Counter((below, path.stem) for path, below in zip(inputs.files, places, strict=True))
    jobs = []
    for path, below in zip(inputs.files, places, strict=True):
        name, target = path.stem if stems[below, path.stem] == 1 else path.name, folder / below
        if _is_video(path):
            ending = path.suffix if path.suffix.lower() in _KEPT_AS_VIDEO else '.mp4'
            pair = target / f'{name}_side_by_side{ending}' if 'side_by_side' in extras else None
            jobs.append(Job(path, target / f'{path.stem}{suffix}{ending}', pair, below=below))
            continue
        ending = result_suffix(path)
        jobs.append(
            Job(
                path,
                target / f'{path.stem}{suffix}{ending}',
                target / f'{name}_side_by_side{ending}' if 'side_by_side' in extras else None,
                target / f'{name}_masks.png' if 'masks' in extras else None,
                target / f'{name}_kernel' if 'kernel' in extras else None,
                below,
            )
        )
    return jobs


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def shown_masks(masks: Path) -> Path:
    """Where the picture of the regions lies, beside their label map."""
    return masks.with_name(f'{masks.stem}_shown.jpg')


def failures_in_words(failed: Mapping[str, str]) -> list[str]:
    """One line for each file that could not be done.

    Args:
        failed: the reasons by the names of the files.
    """
    return [reason if name in reason else f'{name}: {reason}' for name, reason in failed.items()]
