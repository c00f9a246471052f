"""Image files of the gallery: which images to keep, how to draw and how to encode them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from basicsr.deconvolution.kernels import kernel_image
from basicsr.images.arrays import Array
from basicsr.masks.mask_images import region_tints
from basicsr.metrics import Record
from basicsr.reporting.files import file_stem
from basicsr.reporting.report import Definition, ImageRow, ranking_label
from basicsr.utils.errors import OptionError, ShapeError
from basicsr.utils.files import write_whole

FULL = ('input', 'output', 'target', 'error', 'masks', 'kernel')
"""Kinds of full images; masks are transparent tints, as an overlay."""

THUMBNAILS = ('input_thumb', 'output_thumb', 'target_thumb')
FOLDER = 'pictures'


@dataclass(frozen=True)
class KeptImages:
    """Which full images to keep, and their format.

    Every image has thumbnails. Full images (input, output, target, error map, masks) are kept for collapsed images, for
    the best and the worst by gain over the blurred input, and for some at regular intervals.

    Args:
        best: number of images with the largest gain.
        worst: number of images with the smallest gain that are not collapsed.
        collapsed: number of collapsed images, those with the largest loss; None keeps all.
        others: number of further images at regular intervals of the data set.
        format: of input, output and target: 'png' and 'webp' are lossless, 'jpg' is small.
        thumbnail: longer side of the thumbnails in pixels.
        amplify: factor of |output - target| in error maps; with 8, a difference of 32 (of 255) is brightest.

    Raises:
        OptionError: a number is negative, or the format is unknown.
    """

    best: int = 10
    worst: int = 10
    collapsed: int | None = 100
    others: int = 10
    format: Literal['png', 'jpg', 'webp'] = 'png'
    thumbnail: int = 320
    amplify: int = 8

    def __post_init__(self) -> None:
        if min(self.best, self.worst, self.others, self.collapsed or 0) < 0:
            raise OptionError('images: numbers of images must be at least 0')
        if self.thumbnail < 16 or not 1 <= self.amplify <= 255:
            raise OptionError('images: thumbnail must be at least 16 pixels, amplify between 1 and 255')
        if self.format not in ('png', 'jpg', 'webp'):
            raise OptionError(f"images: format is {self.format!r}; use 'png', 'jpg' or 'webp'")

    @property
    def error_scale(self) -> int:
        """Difference (of 255) shown brightest in error maps."""
        return math.ceil(255 / self.amplify)

    def choose(self, rows: Iterable[ImageRow], total: int, definitions: Sequence[Definition]) -> set[int]:
        """Return the indices of the rows that keep full images.

        The choice from all rows is contained in the choice from any part of them plus the rows outside. So each process
        can choose from the rows it kept so far and a new one, and delete the files of the others.

        Args:
            rows: sorted by index.
            total: number of images of the whole data set.
            definitions: of the scores; rows are ranked by the gain of the first score in dB.
        """
        label = ranking_label(definitions)
        better = {item.label: 1.0 if item.higher_is_better else -1.0 for item in definitions}
        rows = list(rows)
        gains = [(row, better[label] * gain) for row in rows if label and (gain := row.gain(label)) is not None]
        ranked = sorted(gains, key=lambda pair: pair[1])
        collapsed = [row for row, _ in ranked if row.collapsed]
        worst = [row for row, _ in ranked if not row.collapsed]
        best = [row for row, _ in sorted(gains, key=lambda pair: -pair[1]) if not row.collapsed]
        leaders = best[: self.best] + worst[: self.worst] + collapsed[: self.collapsed]
        count = min(self.others, total)
        others = {index * total // count for index in range(count)}
        return {row.index for row in leaders} | (others & {row.index for row in rows})


def full_images(
    record: Record, labels: Array | None, kernel: Array | None, images: KeptImages
) -> dict[str, tuple[str, bytes]]:
    """Encode the full images of a row.

    Args:
        record: ``lq``, ``output_uint8`` and, if known, ``gt``: (H, W, 3) RGB or (H, W, 1), uint8 or uint16.
        labels: label map (L, H, W), or None.
        kernel: (h, w), not negative: the blur kernel estimated by the network, or None.
        images: format and amplification.

    Returns:
        by kind, the suffix of the file and its content.

    Raises:
        ShapeError: sizes differ.
    """
    output, gt = record.array('output_uint8'), record.gt
    height, width = output.shape[:2]
    for name, array in (('lq', record.lq), ('gt', gt), ('labels', None if labels is None else labels[0])):
        if array is not None and array.shape[:2] != (height, width):
            raise ShapeError(f'{name} is {array.shape[0]} x {array.shape[1]}, the output {height} x {width} pixels')
    shown = {'input': record.array('lq'), 'output': output} | ({} if gt is None else {'target': gt})
    files = {kind: (f'.{images.format}', encode(eight_bit(image), images.format)) for kind, image in shown.items()}
    if gt is not None:
        files['error'] = ('.png', encode_error_map(output, gt, images.amplify))
    if labels is not None:
        tints = (region_tints(labels) * 255).round().astype(np.uint8)
        files['masks'] = ('.png', encode(tints, 'png'))
    if kernel is not None:
        files['kernel'] = ('.png', encode(eight_bit(kernel_image(kernel)[..., None]), 'png'))
    return files


def thumbnails(record: Record, side: int) -> dict[str, tuple[str, bytes]]:
    """Encode small JPEG images of a row; arguments and result as for ``full_images``."""
    output = record.array('output_uint8')
    scale = min(1.0, side / max(output.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in (output.shape[1], output.shape[0]))
    files = {}
    for kind, image in zip(THUMBNAILS, (record.lq, output, record.gt), strict=True):
        if image is not None:
            small = np.asarray(cv2.resize(eight_bit(image), size, interpolation=cv2.INTER_AREA), np.uint8)
            files[kind] = ('.jpg', encode(small, 'jpg', 80))
    return files


def encode_error_map(output: Array, gt: Array, amplify: int) -> bytes:
    """Encode the largest difference over the channels in the colours of 'inferno' (black to yellow), as PNG.

    Args:
        output: (H, W, C), uint8 or uint16.
        gt: same shape and dtype.
        amplify: differences of at least 255 / amplify (of 255) are brightest.
    """
    difference = cv2.absdiff(eight_bit(output), eight_bit(gt)).astype(np.uint16).max(-1)
    levels = np.minimum(difference * amplify, 255).astype(np.uint8)
    image = Image.fromarray(levels).convert('P')  # a palette makes the file three times smaller
    image.putpalette(error_colours().tobytes())
    stream = io.BytesIO()
    image.save(stream, 'png', compress_level=1)
    return stream.getvalue()


def error_colours() -> NDArray[np.uint8]:
    """Return the 256 colours of error maps, (256, 3) RGB, perceptually uniform."""
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return np.ascontiguousarray(ramp[:, 0, ::-1])


def eight_bit(image: Array) -> NDArray[np.uint8]:
    """Convert an image to (H, W, 3) RGB uint8 for display.

    Args:
        image: (H, W, 3) or (H, W, 1), further channels are ignored; uint8 or uint16.

    Raises:
        ShapeError: a different shape or dtype.
    """
    if image.ndim != 3 or image.dtype not in (np.uint8, np.uint16):
        raise ShapeError(f'expected an image (H, W, C) of 8 or 16 bits, got {image.dtype} {image.shape}')
    if image.dtype == np.uint16:
        image = np.round(image / 257).astype(np.uint8)
    image = np.repeat(image[..., :1], 3, -1) if image.shape[2] < 3 else image[..., :3]
    return np.ascontiguousarray(image, dtype=np.uint8)


def encode(image: NDArray[np.uint8], kind: str, quality: int = 95) -> bytes:
    """Encode an RGB or RGBA image: 'png' and 'webp' without loss, 'jpg' with ``quality``."""
    swapped = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA if image.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    settings = {
        'png': [cv2.IMWRITE_PNG_COMPRESSION, 1],  # twice as fast as the default, for 3 % more
        'webp': [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100 means lossless
        'jpg': [cv2.IMWRITE_JPEG_QUALITY, quality],
    }
    done, data = cv2.imencode(f'.{kind}', swapped, settings[kind])
    if not done:  # for WebP: more than 16383 pixels a side
        raise ShapeError(f'cannot write an image of {image.shape[0]} x {image.shape[1]} pixels as {kind}; use png')
    return bytes(data)


class ImageFolder:
    """The folder with the image files of one data set.

    Args:
        folder: the result folder.
        dataset: name of the data set.
    """

    def __init__(self, folder: Path, dataset: str) -> None:
        self._root = folder
        self._relative = PurePosixPath(FOLDER) / file_stem(dataset)

    def write(self, index: int, name: str, files: Mapping[str, tuple[str, bytes]]) -> dict[str, str]:
        """Write the files of one row, each atomically.

        Returns:
            paths by kind, relative to the result folder.

        Raises:
            OSError: the folder is not writable, or the disk is full.
        """
        (self._root / self._relative).mkdir(parents=True, exist_ok=True)
        written = {}
        for kind, (suffix, data) in files.items():
            path = self._relative / f'{index:05d}_{file_stem(name)}_{kind}{suffix}'
            write_whole(self._root / path, data)
            written[kind] = path.as_posix()
        return written

    def drop_full(self, row: ImageRow) -> ImageRow:
        """Delete the full images of a row, and return the row with its thumbnails only."""
        for kind in FULL:
            if kind in row.images:
                (self._root / row.images[kind]).unlink(missing_ok=True)
        return replace(row, images={kind: path for kind, path in row.images.items() if kind not in FULL})

    def drop_strangers(self, rows: Sequence[ImageRow]) -> None:
        """Delete files of an earlier run, to which no row refers."""
        named = {self._root / path for row in rows for path in row.images.values()}
        here = self._root / self._relative
        for path in here.iterdir() if here.is_dir() else ():
            if path.is_file() and path not in named:
                path.unlink()
