"""The work on one photo or video: read, deblurred, written, and what there is to tell about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.deconvolution.kernels import save_kernel
from basicsr.images.files import imwrite
from basicsr.images.photo import Photo, Stored, load_photo
from basicsr.images.photo_files import save_photo
from basicsr.images.side_by_side import side_by_side
from basicsr.images.transparency import fill_invisible, keep_invisible
from basicsr.inference.deblurrer import Deblurred, Deblurrer, MasksLike
from basicsr.masks.files import find_mask_file, write_label_map
from basicsr.masks.pictures import eight_bits, overlay
from basicsr.photos.jobs import Job, shown_masks
from basicsr.photos.sheet import PhotoSheet
from basicsr.photos.video import VideoDone, deblur_video
from basicsr.utils.console import advice
from basicsr.utils.device import is_out_of_memory
from basicsr.utils.errors import BasicsrError, ImageFileError, MaskError
from basicsr.utils.files import whole_group
from basicsr.utils.measure import peak_memory


@dataclass(frozen=True)
class Done:
    """A photo that was deblurred and written.

    Args:
        photo: as it was.
        result: as it is now.
        details: how it came about.
        notes: what was changed or could not be kept, in words.
    """

    photo: Photo
    result: Photo
    details: Deblurred
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a user is told about a photo or video that was done.

    Args:
        line: one line with sizes and costs.
        warning: what to look at in the result; empty if all is well.
    """

    line: str
    warning: str = ''


def deblur_photo(
    deblurrer: Deblurrer, photo: Photo, masks: MasksLike = None, **weighing: Any
) -> tuple[Photo, Deblurred]:
    """A photo of a file, deblurred, with all that the file held; :class:`Deblurred` says how.

    Args:
        deblurrer: what does it.
        photo: of :func:`~basicsr.images.photo.load_photo`.
        masks: as for the deblurrer.
        **weighing: ``mask_dropout``, ``mask_value`` and ``seed``, as for the deblurrer.

    Raises:
        as :meth:`~basicsr.inference.deblurrer.Deblurrer.deblur`.
    """
    details = deblurrer.deblur(fill_invisible(photo.pixels, photo.alpha), masks, **weighing)
    return replace(photo, pixels=keep_invisible(details.image, photo.pixels, photo.alpha)), details


def run_photo(deblurrer: Deblurrer, job: Job, masks: MasksLike = None) -> Done:
    """Read a photo, deblur it, write all that is wanted: all of its files appear or none.

    Args:
        deblurrer: what does it.
        job: of :func:`~basicsr.photos.jobs.plan`; the folder of its results must exist.
        masks: as for the deblurrer.

    Raises:
        ImageFileError: the photo cannot be read, or its result cannot be written in this format.
        OSError: the disk is full or the folder cannot be written.
        BasicsrError: as :meth:`~basicsr.inference.deblurrer.Deblurrer.deblur`.
    """
    photo = load_photo(job.source)
    result, details = deblur_photo(deblurrer, photo, masks)
    notes = photo.notes
    files = job.files()
    with whole_group(files[0].parent if files else job.source.parent) as place:
        if job.output is not None:
            notes += save_photo(place / job.output.name, result)
        if job.side_by_side is not None:
            save_photo(place / job.side_by_side.name, beside(photo, result))
        if job.masks is not None and details.labels is not None:
            write_label_map(place / job.masks.name, details.labels, compress_level=4)
            imwrite(shown_masks(place / job.masks.name), overlay(eight_bits(photo.pixels), details.labels))
        if job.kernel is not None and details.kernel is not None:
            save_kernel(place / job.kernel.name, details.kernel)
    return Done(photo, result, details, notes)


def beside(photo: Photo, result: Photo) -> Photo:
    """Photo and result in one image, the photo left, both upright and labelled, with the photo's colour profile."""
    pixels = side_by_side(photo.pixels, result.pixels)
    alpha = None
    if photo.alpha is not None:  # gap and labels are opaque
        height, width = photo.alpha.shape[:2]
        alpha = np.full((*pixels.shape[:2], 1), np.iinfo(photo.alpha.dtype).max, photo.alpha.dtype)
        alpha[-height:, :width] = alpha[-height:, -width:] = photo.alpha
    more = {key: value for key, value in photo.stored.more.items() if key not in ('comment', 'xmp')}
    return Photo(pixels, alpha, Stored(photo.stored.format, more=more))


def masks_in(folder: Path, photo: Path, below: Path = Path()) -> Path:
    """The mask file of a photo: of its stem, or as ``--save-masks`` names it.

    Args:
        folder: of the masks.
        photo: the file.
        below: its sub-folder, which is looked at first.

    Raises:
        MaskError: there is none.
    """
    for place in (folder / below, folder):
        for stem in (photo.stem, f'{photo.stem}_masks', f'{photo.name}_masks'):
            path = find_mask_file(place, stem)
            if path is not None:
                return path
    raise MaskError(
        f'{photo}: {folder} holds no masks for it ({photo.stem}.png, {photo.stem}_masks.png, .npz, .npy, .json, or a '
        f'folder {photo.stem} with metadata.csv)'
    )


def run_job(deblurrer: Deblurrer, job: Job, masks: str = 'auto', sheet: PhotoSheet | None = None) -> Report:
    """Do a photo or a video.

    Args:
        deblurrer: what does it.
        job: of :func:`~basicsr.photos.jobs.plan`; its folder must exist.
        masks: ``auto``, ``none``, or a folder of mask files named as the photos.
        sheet: gets a row for a photo, and for a frame of a video.

    Raises:
        BasicsrError: the file cannot be read, deblurred or written; it is named.
        OSError: the disk is full or the folder cannot be written.
    """
    done: list[Done | VideoDone] = []
    own = masks not in ('auto', 'none')

    def run() -> None:
        if job.is_video:
            if own:
                raise MaskError(f'{job.source}: the frames of a video have no mask files; use --masks auto or none')
            assert job.output is not None  # noqa: S101 - videos always have one
            more: dict[str, Any] = {'side_by_side': job.side_by_side, 'sample': sheet is not None}
            done.append(deblur_video(deblurrer, job.source, job.output, masks, _frames_shown, **more))
        else:
            done.append(run_photo(deblurrer, job, masks_in(Path(masks), job.source, job.below) if own else masks))

    start = time.perf_counter()
    try:
        memory = peak_memory(run, deblurrer.device)
    except ImageFileError as error:
        raise error if str(job.source) in str(error) else ImageFileError(f'{job.source}: {error}') from error
    seconds = time.perf_counter() - start
    if sheet is not None and isinstance(done[0], Done):
        sheet.add(job.source.name, done[0].photo.pixels, done[0].result.pixels)
    elif sheet is not None and isinstance(done[0], VideoDone) and done[0].sample is not None:
        sheet.add(f'{job.source.name}, a frame', *done[0].sample)
    return _report(job, done[0], seconds, memory)


def do_all(jobs: Sequence[Job], do: Callable[[Job], None], too_large: str) -> dict[str, str]:
    """Do photos and videos one after another behind a progress bar; if one fails, the others are done.

    Args:
        jobs: of :func:`~basicsr.photos.jobs.plan`.
        do: does one.
        too_large: what to do about one that the memory cannot hold.

    Returns:
        Why some have failed, by their names.

    Raises:
        what ``do`` raises and no user can mend.
    """
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    failed = {}
    with logging_redirect_tqdm(), tqdm(jobs, unit='file', dynamic_ncols=True) as bar:
        for job in bar:
            bar.set_description(job.source.name)
            try:
                do(job)
            except BasicsrError as error:
                failed[str(job.source)] = str(error)
            except OSError as error:
                failed[str(job.source)] = advice(error)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                failed[str(job.source)] = f'there is not enough memory for it; {too_large}'
    return failed


def _report(job: Job, done: Done | VideoDone, seconds: float, memory: float | None) -> Report:
    costs = '' if memory is None else f', {memory:.0f} MiB'
    if isinstance(done, VideoDone):
        height, width = done.size
        line = f'{width}×{height}, {done.frames} frames, {seconds:.1f} s ({seconds / done.frames:.2f} s each){costs}'
        warning = f'the guard found a collapse in {done.collapsed} of {done.frames} frames' if done.collapsed else ''
        return Report('; '.join([f'{job.source} → {job.output}: {line}', *done.notes]), warning)
    details = done.details
    height, width = done.photo.pixels.shape[:2]
    masks = '' if details.labels is None else f' (masks {details.mask_seconds:.1f} s)'
    tiles = '' if details.tile is None else f', tiles of {details.tile}'
    line = f'{job.source} → {job.output}: {width}×{height}, {seconds:.1f} s{masks}{costs}{tiles}'
    return Report('; '.join([line, *done.notes]), details.warning)


def _frames_shown(frames: Iterable[Any], total: int) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(frames, 'frames', total or None, unit='frame', leave=False, dynamic_ncols=True)
