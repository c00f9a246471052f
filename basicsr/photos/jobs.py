"""Find photos and videos named on a command line, and plan their result files."""

from __future__ import annotations

import glob
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basicsr.images.photo import PHOTO_SUFFIXES
from basicsr.images.photo_files import result_suffix
from basicsr.images.unread import RAW_SUFFIXES, UNREAD_SUFFIXES
from basicsr.utils.errors import DataError, some_of
from basicsr.videos.opening import VIDEO_SUFFIXES

_ELSEWHERE = 'choose another output folder or suffix'
_KEPT_AS_VIDEO = ('.mp4', '.mov', '.avi', '.mkv')


@dataclass(frozen=True)
class Job:
    """A photo or video and its result files; None for files that are not requested.

    Args:
        source: the photo or video.
        output: the result.
        side_by_side: image or video of source and result, source on the left.
        masks: the label map; an image of the regions is next to it, ``<stem>_shown.jpg``.
        kernel: the blur kernel, without extension: a ``.npy`` and a ``.png`` file.
        below: sub-folder of the source below a pattern; the results go to the same sub-folder.
    """

    source: Path
    output: Path | None
    side_by_side: Path | None = None
    masks: Path | None = None
    kernel: Path | None = None
    below: Path = Path()

    def files(self) -> list[Path]:
        """Return all result files."""
        found = [path for path in (self.output, self.side_by_side) if path is not None]
        if self.masks is not None:
            found += [self.masks, shown_masks(self.masks)]
        if self.kernel is not None:
            found += [self.kernel.with_name(f'{self.kernel.name}{suffix}') for suffix in ('.npy', '.png')]
        return found


@dataclass
class Inputs:
    """The photos and videos named on a command line.

    Args:
        files: photos and videos, each once.
        missing: reason by name, for names and files that cannot be processed.
        notes: messages about files that are skipped on purpose.
        below: sub-folder by file, for files found by a pattern.
    """

    files: list[Path] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    below: dict[Path, Path] = field(default_factory=dict)


def list_inputs(names: Iterable[str | Path]) -> Inputs:
    """List the files that names stand for.

    Args:
        names: files, folders (for the photos directly in them, hidden ones excluded), or patterns with ``*``, ``?``,
            ``[...]`` and ``**``, whose sub-folders are kept.
    """
    inputs, seen = Inputs(), set()
    for name in names:
        try:
            found = _files_of(str(name), inputs)
        except OSError as error:  # not readable, or the name is too long
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
        # broken links are included, so that an error names them
        visible = sorted(p for p in path.iterdir() if not p.name.startswith('.') and (p.is_file() or not p.exists()))
        photos = [p for p in visible if p.suffix.lower() in PHOTO_SUFFIXES]
        videos = [p for p in visible if p.suffix.lower() in VIDEO_SUFFIXES]
        if videos:
            inputs.notes.append(f'{name}: skipped {len(videos)} videos; pass their names to deblur them')
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
    above_wildcards = itertools.takewhile(lambda part: not glob.has_magic(part), path.parts[:-1])
    root = Path(*above_wildcards)
    inputs.below |= {p: p.parent.relative_to(root) for p in found}
    if not found:
        inputs.missing[name] = 'matches no photo or video'
    return found


def _note_unread(name: str, files: Iterable[Path], inputs: Inputs) -> None:
    """Add notes about files with extensions of image formats that cannot be read."""
    raw = [p.name for p in files if p.suffix.lower() in RAW_SUFFIXES]
    others = [p.name for p in files if p.suffix.lower() in UNREAD_SUFFIXES and p.name not in raw]
    if raw:
        inputs.notes.append(f'{name}: skipped camera raw files; develop them to TIFF or JPEG first: {some_of(raw)}')
    if others:
        inputs.notes.append(f'{name}: skipped; save these as JPEG, PNG or TIFF first: {some_of(others)}')


def plan(inputs: Inputs, folder: Path, suffix: str, extras: Sequence[str] = ()) -> list[Job]:
    """Plan the result files of all inputs.

    Earlier results among the inputs are skipped, so that deblurring a folder into itself twice makes no
    ``x_deblurred_deblurred``.

    Args:
        inputs: from :func:`list_inputs`; name clashes are added to ``missing``, skipped files to ``notes``.
        folder: for the results.
        suffix: added to the file names.
        extras: further results: ``side_by_side``, ``masks``, ``kernel``.

    Raises:
        DataError: a result would overwrite an input.
    """
    for extra in ('masks', 'kernel'):
        for path in [path for path in inputs.files if extra in extras and is_video(path)]:
            inputs.missing[str(path)] = f'--save-{extra} is for photos, not videos; run this file without it'
            inputs.files.remove(path)
    everything = _jobs(inputs, folder, suffix, ('side_by_side', 'masks', 'kernel'))
    results = {path.resolve(): job.source for job in everything for path in job.files()}
    earlier = [p for p in inputs.files if results.get(p.resolve(), p) != p] if suffix else []
    if earlier:
        inputs.notes.append(f'skipped {len(earlier)} earlier results, such as {earlier[0]}')
        inputs.files = [path for path in inputs.files if path not in earlier]
    sources = {path.resolve() for path in inputs.files}
    taken: dict[Path, Path] = {}
    kept = []
    for job in _jobs(inputs, folder, suffix, extras):
        files = [path.resolve() for path in job.files()]
        over = next((path for path in files if path in sources), None)
        if over is not None:
            raise DataError(f'{over} would be overwritten by the result of {job.source.name}; {_ELSEWHERE}')
        clash = next((taken[path] for path in files if path in taken), None)
        if clash is not None:
            inputs.missing[str(job.source)] = f'its result would replace that of {clash}; {_ELSEWHERE}'
            continue
        taken.update(dict.fromkeys(files, job.source))
        kept.append(job)
    return kept


def left_to_do(jobs: Sequence[Job], inputs: Inputs, overwrite: bool) -> list[Job]:
    """Return the jobs without existing results.

    Args:
        jobs: from :func:`plan`.
        inputs: jobs with all results are added to ``notes``; jobs with some of them, as after an interrupted run or
            one with fewer flags, to ``missing``.
        overwrite: return all jobs.
    """
    todo = []
    for job in jobs:
        there = [path for path in job.files() if path.exists()]
        absent = [path for path in job.files() if path not in there]
        if not there or overwrite:
            todo.append(job)
        elif absent:
            inputs.missing[str(job.source)] = f'{there[0]} exists, {absent[0]} does not; pass --overwrite to make both'
        else:
            inputs.notes.append(f'{job.source}: skipped, {there[0]} exists (--overwrite replaces it)')
    return todo


def _jobs(inputs: Inputs, folder: Path, suffix: str, extras: Sequence[str]) -> list[Job]:
    places = [inputs.below.get(path, Path()) for path in inputs.files]
    stems = Counter((below, path.stem) for path, below in zip(inputs.files, places, strict=True))
    jobs = []
    for path, below in zip(inputs.files, places, strict=True):
        name, target = path.stem if stems[below, path.stem] == 1 else path.name, folder / below
        if is_video(path):
            ending = path.suffix if path.suffix.lower() in _KEPT_AS_VIDEO else '.mp4'
            possible = {'side_by_side': f'_side_by_side{ending}'}
        else:
            ending = result_suffix(path)
            possible = {'side_by_side': f'_side_by_side{ending}', 'masks': '_masks.png', 'kernel': '_kernel'}
        further = {extra: target / f'{name}{end}' for extra, end in possible.items() if extra in extras}
        jobs.append(Job(path, target / f'{path.stem}{suffix}{ending}', below=below, **further))
    return jobs


def is_video(path: Path) -> bool:
    """Return whether a file is a video, by its extension."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def shown_masks(masks: Path) -> Path:
    """Return the path of the image of the regions, next to their label map."""
    return masks.with_name(f'{masks.stem}_shown.jpg')
