"""Deblur one photo or video: read, restore, write, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from basicsr.deconvolution.kernels import save_kernel
from basicsr.images.arrays import Array
from basicsr.images.files import imwrite
from basicsr.images.headers import MAX_PIXELS
from basicsr.images.photo import Photo, Stored, load_photo
from basicsr.images.photo_files import save_photo
from basicsr.images.side_by_side import side_by_side
from basicsr.images.transparency import fill_invisible, keep_invisible
from basicsr.inference.deblurred import Deblurred
from basicsr.inference.deblurrer import Deblurrer, MasksLike
from basicsr.masks.files import find_mask_file, write_label_map
from basicsr.masks.mask_images import eight_bits, overlay
from basicsr.photos.jobs import Job, is_video, shown_masks
from basicsr.photos.sheet import PhotoSheet
from basicsr.photos.video import DeblurredVideo, deblur_video
from basicsr.utils.console import advice, raise_if_ended
from basicsr.utils.device import is_out_of_memory
from basicsr.utils.errors import BasicsrError, DataError, ImageFileError, MaskError
from basicsr.utils.files import whole_group
from basicsr.utils.measure import peak_memory


@dataclass(frozen=True)
class DeblurredPhoto:
    """A photo that was deblurred and written.

    Args:
        photo: the original.
        result: the deblurred photo.
        details: masks, kernel, times and warning.
        notes: metadata and formats that were changed or lost.
    """

    photo: Photo
    result: Photo
    details: Deblurred
    notes: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """Message about a collapse; empty without one."""
        return self.details.warning

    @property
    def sample(self) -> tuple[Array, Array]:
        """Pixels of photo and result, for a contact sheet."""
        return self.photo.pixels, self.result.pixels

    def summary(self, seconds: float) -> str:
        """Return size and time on one line."""
        height, width = self.photo.pixels.shape[:2]
        masks = '' if self.details.labels is None else f' (masks {self.details.mask_seconds:.1f} s)'
        tiles = '' if self.details.tile is None else f' in tiles of {self.details.tile}'
        return f'{width}×{height}{tiles}, {seconds:.1f} s{masks}'

    @property
    def remarks(self) -> tuple[str, ...]:
        """The method and why it was chosen, and notes."""
        why = f'{self.details.method}: {self.details.explanation}' if self.details.explanation else ''
        return (why, *self.notes) if why else self.notes


def deblur_photo(deblurrer: Deblurrer, photo: Photo, masks: MasksLike = None, **more: Any) -> tuple[Photo, Deblurred]:
    """Deblur a photo and keep its metadata.

    Args:
        deblurrer: the network.
        photo: from :func:`~basicsr.images.photo.load_photo`.
        masks: as for the deblurrer.
        **more: ``mask_dropout``, ``mask_value``, ``seed``, ``kernel`` and ``progress``, as for the deblurrer.

    Returns:
        the deblurred photo, and details.

    Raises:
        as :meth:`~basicsr.inference.deblurrer.Deblurrer.deblur`.
    """
    details = deblurrer.deblur(fill_invisible(photo.pixels, photo.alpha), masks, **more)
    return replace(photo, pixels=keep_invisible(details.image, photo.pixels, photo.alpha)), details


def run_photo(
    deblurrer: Deblurrer, job: Job, masks: MasksLike = None, max_pixels: int = MAX_PIXELS, **more: Any
) -> DeblurredPhoto:
    """Read a photo, deblur it and write its result files: all of them appear or none.

    Args:
        deblurrer: the network.
        job: from :func:`~basicsr.photos.jobs.plan`; its output folder must exist.
        masks: as for the deblurrer.
        max_pixels: raise for larger photos.
        **more: as for :func:`deblur_photo`.

    Raises:
        ImageFileError: the photo cannot be read, or the result cannot be written in this format.
        OSError: the disk is full or the folder cannot be written.
        BasicsrError: as :meth:`~basicsr.inference.deblurrer.Deblurrer.deblur`.
    """
    photo = load_photo(job.source, max_pixels)
    result, details = deblur_photo(deblurrer, photo, masks, **more)
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
        elif job.kernel is not None:
            notes += ('no kernel was used, so none is saved',)
    return DeblurredPhoto(photo, result, details, notes)


def beside(photo: Photo, result: Photo) -> Photo:
    """Return photo and result in one image, photo on the left, upright and labelled, with the colour profile."""
    pixels = side_by_side(photo.pixels, result.pixels)
    alpha = None
    if photo.alpha is not None:  # gap and labels are opaque
        height, width = photo.alpha.shape[:2]
        alpha = np.full((*pixels.shape[:2], 1), np.iinfo(photo.alpha.dtype).max, photo.alpha.dtype)
        alpha[-height:, :width] = alpha[-height:, -width:] = photo.alpha
    more = {key: value for key, value in photo.stored.more.items() if key not in ('comment', 'xmp')}
    return Photo(pixels, alpha, Stored(photo.stored.format, more=more))


def masks_in(folder: Path, photo: Path, below: Path = Path()) -> Path:
    """Return the mask file of a photo, named by its stem or as ``--save-masks`` names it.

    Args:
        folder: with mask files.
        photo: path of the photo.
        below: sub-folder to search first.

    Raises:
        MaskError: no mask file was found.
    """
    for place in (folder / below, folder):
        for stem in (photo.stem, f'{photo.stem}_masks', f'{photo.name}_masks'):
            path = find_mask_file(place, stem)
            if path is not None:
                return path
    raise MaskError(
        f'{photo}: no masks in {folder}; add {photo.stem}.png, {photo.stem}_masks.png, .npz, .npy, .json or a '
        f'folder {photo.stem} with metadata.csv'
    )


def run_job(
    deblurrer: Deblurrer,
    job: Job,
    masks: str = 'auto',
    sheet: PhotoSheet | None = None,
    kernel: Array | None = None,
) -> tuple[str, str]:
    """Deblur a photo or a video.

    Args:
        deblurrer: the network.
        job: from :func:`~basicsr.photos.jobs.plan`; its output folder must exist.
        masks: ``auto``, ``none``, or a folder of mask files named like the photos.
        sheet: contact sheet to add the photo, or a frame of the video, to.
        kernel: known blur kernel of the photos, see :meth:`~basicsr.inference.deblurrer.Deblurrer.deblur`.

    Returns:
        a line with size, time, peak memory of the process and method; and a warning about the result, empty without
        one.

    Raises:
        BasicsrError: the file cannot be read, deblurred or written; the message names it.
        OSError: the disk is full or the folder cannot be written.
    """
    own = masks not in ('auto', 'none')
    run: Callable[[], DeblurredPhoto | DeblurredVideo]
    done: DeblurredPhoto | DeblurredVideo
    video = is_video(job.source)
    if video:
        if own:
            raise MaskError(f'{job.source}: --masks DIR is for photos, not videos; use --masks auto or none')
        if kernel is not None:
            raise DataError(f'{job.source}: --kernel is for photos, not videos')
        if deblurrer.method == 'kernel':
            raise DataError(f'{job.source}: --method kernel is for photos, not videos; use --method network')
        assert job.output is not None  # noqa: S101 - videos always have one
        more: dict[str, Any] = {'side_by_side': job.side_by_side, 'sample': sheet is not None}
        run = partial(deblur_video, deblurrer, job.source, job.output, masks, _with_frame_bar, **more)
    else:
        used = masks_in(Path(masks), job.source, job.below) if own else masks
        run = partial(run_photo, deblurrer, job, used, kernel=kernel, progress=StepBar())
    start = time.perf_counter()
    try:
        done, memory = peak_memory(run, deblurrer.device, total=True)
    except ImageFileError as error:
        raise error if str(job.source) in str(error) else ImageFileError(f'{job.source}: {error}') from error
    seconds = time.perf_counter() - start
    if sheet is not None and done.sample is not None:
        sheet.add(f'{job.source.name}, a frame' if video else job.source.name, *done.sample)
    costs = '' if memory is None else f', {memory:.0f} MiB'
    line = f'{job.source} → {job.output}: {done.summary(seconds)}{costs}'
    return '; '.join([line, *done.remarks]), done.warning


def do_all(jobs: Sequence[Job], do: Callable[[Job], None], too_large: str) -> dict[str, str]:
    """Process photos and videos with a progress bar; continue with the rest if one fails.

    Args:
        jobs: from :func:`~basicsr.photos.jobs.plan`.
        do: processes one job.
        too_large: advice for a file that does not fit into memory.

    Returns:
        the reason of each failure by file name.

    Raises:
        any other error of ``do``, which is a bug.
    """
    failed = {}
    with logging_redirect_tqdm(), tqdm(jobs, unit='file', dynamic_ncols=True, disable=None) as bar:
        for job in bar:
            raise_if_ended()
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
                failed[str(job.source)] = f'not enough memory; {too_large}'
    raise_if_ended()
    return failed


def _with_frame_bar(frames: Iterable[Any], total: int) -> Iterable[Any]:
    for frame in tqdm(frames, 'frames', total or None, unit='frame', leave=False, dynamic_ncols=True, disable=None):
        raise_if_ended()
        yield frame


class StepBar:
    """A progress bar for the steps of one photo, shown on a terminal only; also ends the program after a signal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps are finished."""
        raise_if_ended()
        if self._bar is None or self._bar.total != total:
            self._bar = tqdm(total=total, unit='step', leave=False, dynamic_ncols=True, disable=None)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()
            self._bar = None
