"""Stage ``group``: turn label maps into the region masks and gray masks (CAT) that the data sets read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.images.arrays import Array
from basicsr.images.files import image_size
from basicsr.masks.files import read_masks, read_stamp, write_label_map
from basicsr.masks.gray_coding import gray_from_label_map, masks_from_gray
from basicsr.preparation.output_files import is_whole_stack, save_bytes, save_png, writing
from basicsr.preparation.plan import LABELS, TRAIN_GRAY, Plan
from basicsr.preparation.stages.base import StageCounts, files_in, sum_of_jobs
from basicsr.preparation.stages.crops import Window, cut, named_windows
from basicsr.preparation.worker_pool import Pool


def run(plan: Plan, part: str, pool: Pool) -> StageCounts:
    """Write the masks of a part."""
    folder, train = plan.out / part, part == 'train'
    jobs = []
    for source, origin in plan.mask_folders(part).items():
        gray = TRAIN_GRAY if train else plan.benchmark.cat_test['blurred' if origin == 'input' else 'predeblurred']
        regions = folder / LABELS[part] if train or origin == 'input' else None
        jobs += [
            (masks, regions, folder / gray, plan.original_masks, plan.crop if train else None, plan.force)
            for masks in files_in(folder / source, ('.png',))
        ]
    return sum_of_jobs(pool.run(group_masks, jobs, f'{part}: masks'))


def settings(plan: Plan, part: str) -> dict[str, Any]:
    """Return the settings that determine the masks."""
    crop = {'crop': list(plan.crop)} if part == 'train' else {}
    return {'format': 'original' if plan.original_masks else 'label_map', **crop}


def group_masks(
    masks: Path, regions: Path | None, gray: Path, original: bool, crop: tuple[int, int] | None, again: bool = False
) -> tuple[int, int]:
    """Write the missing files of one label map.

    Args:
        masks: the label map of a whole image.
        regions: folder of the region masks; None writes none.
        gray: folder of the gray masks (CAT).
        original: write boolean ``.npz`` files from the original's gray coding instead of label maps.
        crop: size and step of crops; None keeps the whole image.
        again: write all files.

    Returns:
        number of files written, and of files kept.
    """
    labels = read_masks(masks)
    size = labels.shape[1], labels.shape[2]
    windows = {masks.stem: (0, 0, *size)} if crop is None else named_windows(masks.stem, size, *crop)
    coded: Array | None = None
    stamp = read_stamp(masks)
    written = 0
    for name, window in windows.items():
        gray_file = gray / f'{name}.png'
        region_file = None if regions is None else regions / f'{name}{".npz" if original else ".png"}'
        gray_missing = again or image_size(gray_file) != window[2:]
        regions_missing = region_file is not None and (again or not _is_whole(region_file, window))
        if coded is None and (gray_missing or (regions_missing and original)):
            coded = gray_from_label_map(labels, 'reference' if original else 'fixed')
        if gray_missing and coded is not None:
            save_png(gray_file, cut(coded, window))
        if regions_missing and region_file is not None:
            if coded is not None and original:
                save_bytes(region_file, _stack(cut(coded, window)))
            else:
                top, left, height, width = window
                _write_labels(region_file, labels[:, top : top + height, left : left + width], stamp)
            region_file.with_suffix('.png' if original else '.npz').unlink(missing_ok=True)  # the other format
        written += gray_missing + regions_missing
    return written, len(windows) * (1 if regions is None else 2) - written


def _is_whole(path: Path, window: Window) -> bool:
    """Return whether the region masks of a window are complete."""
    if path.suffix == '.npz':
        return is_whole_stack(path)
    size = image_size(path)
    return size is not None and size[1] == window[3] and size[0] % window[2] == 0


def _stack(gray: Array) -> bytes:
    """Return the original's file: one boolean plane per gray value, ascending, including the background."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, masks=masks_from_gray(np.ascontiguousarray(gray)))
    return buffer.getvalue()


def _write_labels(path: Path, labels: Array, stamp: str) -> None:
    """Write a label map without the layers that are empty in this window. Ids do not change."""
    used = labels[labels.any((1, 2))]
    with writing(path):
        write_label_map(path, used if len(used) else labels[:1], stamp)
