"""The work of each stage of preparing a benchmark, one file (or one share of the files) at a time."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.images.files import decode_image, image_size, imread
from basicsr.masks.files import read_masks, read_stamp, write_label_map
from basicsr.masks.generator import build_generator
from basicsr.masks.gray_coding import gray_from_label_map, masks_from_gray
from basicsr.masks.making import Summary, list_images, make_masks, with_progress
from basicsr.preparation.layouts import Pair
from basicsr.preparation.output_files import (
    Link,
    is_whole_stack,
    place,
    save_bytes,
    save_png,
    writing,
)
from basicsr.preparation.stages.crops import crop_name, crop_windows
from basicsr.preparation.stages.predeblur import Predeblurring
from basicsr.utils.device import device_of_process
from basicsr.utils.errors import DataError, ImageFileError

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class ConvertJob:
    """A pair that gets its place and name.

    Args:
        pair: its files.
        lq, gt: folders of the blurred and of the sharp images.
        link: how a file gets there.
        again: whatever is there.
    """

    pair: Pair
    lq: Path
    gt: Path
    link: Link
    again: bool = False


def convert_pair(job: ConvertJob) -> tuple[bool, tuple[int, int]]:
    """Give a pair its place; neither file appears if one cannot be read.

    Returns:
        whether anything was written, and (H, W).

    Raises:
        ImageFileError: a file is no whole image.
        DataError: the two differ in size.
    """
    sources = job.pair.lq, job.pair.gt
    folders = job.lq, job.gt
    targets = [
        folder / f'{job.pair.stem}{source.suffix.lower()}' for folder, source in zip(folders, sources, strict=True)
    ]
    files = list(zip(sources, targets, strict=True))
    if not job.again and all(_is_there(source, target) for source, target in files):
        sizes = [image_size(target) for target in targets]
        if sizes[0] is not None and sizes[0] == sizes[1]:
            return False, sizes[0]
    contents = [_content(source) for source in sources]
    shapes = [decode_image(data, str(source)).shape[:2] for data, source in zip(contents, sources, strict=True)]
    if shapes[0] != shapes[1]:
        raise DataError(f'{sources[0]} has {shapes[0]} pixels (H, W), {sources[1]} has {shapes[1]}; pair left out')
    for (source, target), data in zip(files, contents, strict=True):
        with writing(target):
            in_place = target.exists() and target.samefile(source)
        if not in_place:
            place(source, target, data, job.link)
    return True, (shapes[0][0], shapes[0][1])


@dataclass(frozen=True)
class CropJob:
    """An image that is cut into training crops.

    Args:
        image: the file.
        folder: of the crops.
        size, step: of the windows, in pixels.
        again: whatever is there.
    """

    image: Path
    folder: Path
    size: int
    step: int
    again: bool = False


def crop_image(job: CropJob) -> tuple[int, int]:
    """Write the crops of an image that are not there.

    Returns:
        how many were written, and how many it has.
    """
    size = image_size(job.image)
    if size is None:
        imread(job.image)  # says what is wrong
        raise ImageFileError(f'{job.image}: its size cannot be read')
    crops = _crops(job.image.stem, size, job.size, job.step)
    missing = {
        path: window
        for path, window in ((job.folder / f'{name}.png', window) for name, window in crops.items())
        if job.again or image_size(path) != window[2:]
    }
    pixels = imread(job.image) if missing else np.empty((0, 0, 3), np.uint8)
    for path, window in missing.items():
        save_png(path, _cut(pixels, window))
    return len(missing), len(crops)


@dataclass(frozen=True)
class GroupJob:
    """A label map that becomes what the data sets read.

    Args:
        masks: the label map of a whole image.
        labels: folder of the region masks; None makes none.
        gray: folder of the gray pictures (CAT).
        original: boolean ``.npz`` out of the original's gray coding instead of label maps.
        crop: size and step of crops; None keeps the whole image.
        again: whatever is there.
    """

    masks: Path
    labels: Path | None
    gray: Path
    original: bool
    crop: tuple[int, int] | None
    again: bool = False


def group_masks(job: GroupJob) -> tuple[int, int]:
    """Write the files that are made of one label map and are not there.

    Returns:
        how many were written, and how many it has.
    """
    labels = read_masks(job.masks)
    size = labels.shape[1], labels.shape[2]
    stem = job.masks.stem
    crops = {stem: (0, 0, *size)} if job.crop is None else _crops(stem, size, *job.crop)
    gray: NDArray[np.uint8] | None = None
    stamp = read_stamp(job.masks)
    written = 0
    for name, window in crops.items():
        gray_file = job.gray / f'{name}.png'
        region_file = None if job.labels is None else job.labels / f'{name}{".npz" if job.original else ".png"}'
        gray_missing = job.again or image_size(gray_file) != window[2:]
        regions_missing = region_file is not None and (job.again or not _regions_whole(region_file, window))
        if gray is None and (gray_missing or (regions_missing and job.original)):
            gray = gray_from_label_map(labels, 'reference' if job.original else 'fixed')
        if gray_missing and gray is not None:
            save_png(gray_file, _cut(gray, window))
        if regions_missing and region_file is not None:
            if gray is not None and job.original:
                save_bytes(region_file, _stack(_cut(gray, window)))
            else:
                top, left, height, width = window
                _write_labels(region_file, labels[:, top : top + height, left : left + width], stamp)
            region_file.with_suffix('.png' if job.original else '.npz').unlink(missing_ok=True)  # of the other format
        written += gray_missing + regions_missing
    return written, len(crops) * (1 if job.labels is None else 2)


@dataclass(frozen=True)
class Share:
    """One process's share of a folder, for work that loads a network first.

    Args:
        source: folder of images.
        target: folder of what is made of them.
        index, count: every ``count``-th image from the ``index``-th.
        arguments: of the worker: a generator's block; or a network's, its weights, their key and a device.
        again: whatever is there.
        shown: whether to show how far it is.
    """

    source: Path
    target: Path
    index: int
    count: int
    arguments: tuple[Any, ...]
    again: bool = False
    shown: bool = False

    @property
    def progress(self) -> Any:
        """Wraps the images of this share."""
        return with_progress if self.shown else iter


def mask_share(job: Share) -> Summary:
    """Make the masks of a share of a folder."""
    block = dict(job.arguments[0])
    if 'device' in block:
        block['device'] = device_of_process(block['device'], job.index)
    generator = build_generator(block)
    with writing(job.target):
        return make_masks(
            job.source, job.target, generator, (job.index, job.count), (), job.again, progress=job.progress
        )


def predeblur_share(job: Share) -> tuple[int, int, dict[str, str]]:
    """Restore a share of a folder.

    Returns:
        how many were made, how many were there, and by file why others failed.
    """
    network, weights, param_key, device = job.arguments
    restore = Predeblurring(network, weights, param_key, device_of_process(device, job.index))
    images: Iterable[Path] = job.progress(list_images(job.source)[job.index :: job.count])
    made, kept, failed = 0, 0, {}
    for name in images:
        target = (job.target / name).with_suffix('.png')
        try:
            new = restore(job.source / name, target, job.again)
        except ImageFileError as error:
            failed[str(job.source / name)] = str(error)
            continue
        made, kept = made + new, kept + (not new)
    return made, kept, failed


def _crops(stem: str, image: tuple[int, int], size: int, step: int) -> dict[str, Window]:
    return {crop_name(stem, number): window for number, window in enumerate(crop_windows(*image, size, step))}


def _cut(pixels: NDArray[Any], window: Window) -> NDArray[Any]:
    top, left, height, width = window
    return pixels[top : top + height, left : left + width]


def _is_there(source: Path, target: Path) -> bool:
    """Whether a whole file of the source's length lies there."""
    try:
        if not target.is_file() or target.stat().st_size != source.stat().st_size:
            return False
    except OSError:
        return False
    return image_size(target) is not None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageFileError(f'{path}: cannot be read ({error.strerror or error})') from error


def _regions_whole(path: Path, window: Window) -> bool:
    if path.suffix == '.npz':
        return is_whole_stack(path)
    size = image_size(path)
    return size is not None and size[1] == window[3] and size[0] % window[2] == 0


def _stack(gray: NDArray[np.uint8]) -> bytes:
    """The original's file: one boolean plane for each gray value, ascending, background included."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, masks=masks_from_gray(np.ascontiguousarray(gray)))
    return buffer.getvalue()


def _write_labels(path: Path, labels: NDArray[Any], stamp: str) -> None:
    """A label map without the layers that are empty in this window; ids stay as they are."""
    used = labels[[bool(layer.any()) for layer in labels]]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_map(path, used if len(used) else labels[:1], stamp)
