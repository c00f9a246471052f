"""Read and write mask files: label maps as 16-bit PNG, the formats of SAM-Deblur, and those of other tools."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from basicsr.images.png import png_texts
from basicsr.masks.decoding import SHAPE_KEY, decode_png
from basicsr.masks.gray_coding import label_map_from_gray
from basicsr.masks.label_map import check_label_map
from basicsr.masks.other_tools import METADATA, is_folder_of_masks, labels_of_bilevel, labels_of_folder, labels_of_json
from basicsr.masks.record import RECORD
from basicsr.masks.stacks import labels_of_stack
from basicsr.utils.errors import MaskError
from basicsr.utils.files import files_below, read_file, write_whole

SUFFIXES = ('.png', '.npz', '.npy', '.json')
WIDE_KEY = 'high_words'  # PNG text chunk: as many layers with the upper 16 bits of the ids follow
STAMP_KEY = 'made_with'


def write_label_map(path: str | Path, labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> None:
    """Write a label map as a 16-bit single-channel PNG, its layers stacked from top to bottom.

    The file appears complete or not at all.

    Args:
        path: ``<stem of the image>.png``; its folder must exist.
        labels: (L, H, W) integers. If ids exceed 65535, layers with their upper 16 bits follow.
        stamp: identifies the settings of the masks; stored in the file, see :func:`read_stamp`.
        compress_level: of the PNG, 0 to 9; 1 is many times faster, with files 50 % larger.

    Raises:
        MaskError: not a label map, or an id above 2^31 - 1.
        OSError: the disk is full or the folder cannot be written.
    """
    write_whole(Path(path), encode_label_map(labels, stamp, compress_level))


def read_stamp(path: str | Path) -> str:
    """Return the stamp of a label map file; empty if it has none or is not a PNG."""
    return _text(path, STAMP_KEY)


def is_label_map(path: str | Path) -> bool:
    """Whether a file is marked as a label map."""
    return bool(_text(path, SHAPE_KEY))


def _text(path: str | Path, key: str) -> str:
    try:
        with Path(path).open('rb') as file:
            return png_texts(file.read(2**16)).get(key, '')
    except OSError:
        return ''


def encode_label_map(labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> bytes:
    """Return the bytes that :func:`write_label_map` writes."""
    labels = check_label_map(labels)
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise MaskError(f'ids must not exceed 2147483647; the largest is {largest}')
    texts = PngInfo()
    texts.add_text(SHAPE_KEY, ' '.join(map(str, labels.shape)))
    if largest > 65535:
        texts.add_text(WIDE_KEY, '1')
        labels = np.concatenate([labels & 65535, labels >> 16])
    if stamp:
        texts.add_text(STAMP_KEY, stamp)
    stacked = labels.reshape(-1, labels.shape[2]).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(stacked).save(buffer, 'PNG', pnginfo=texts, compress_level=compress_level)
    return buffer.getvalue()


def read_masks(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a mask file of any supported format as a label map.

    * 16-bit PNG: a label map (one layer without this project's text chunk).
    * 8-bit gray PNG, and ``.npz`` with an array ``masks`` (M, 1, H, W), as in SAM-Deblur: each gray value is a region,
      including the background.
    * Palette PNG: index k is region k, 0 is no mask. Black and white PNG: white areas are regions, the largest first.
    * ``.npy``, and ``.npz`` with an array ``masks`` (M, H, W): mask i is region i + 1.
    * JSON with run lengths (Segment Anything, SA-1B), and a folder of Segment Anything's ``amg.py``.

    Args:
        path: the file or folder; its format is detected from its content.
        size: (H, W) of the image, which the masks must have.

    Returns:
        label map (L, H, W).

    Raises:
        MaskError: the file is missing, damaged, of a different format or size; names the file and the mask.
    """
    place = Path(path).parent if Path(path).name == METADATA else Path(path)
    if is_folder_of_masks(place):
        return of_size(labels_of_folder(place, size), str(place), size)
    return decode_masks(read_file(path, MaskError), str(path), size)


def decode_masks(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read masks like :func:`read_masks` from the bytes of a file; ``name`` is for error messages."""
    if not data:
        raise MaskError(f'{name}: the file is empty (0 bytes)')
    if data.startswith((b'PK', b'\x93NUMPY')):
        labels = labels_of_stack(data, name, size)
    elif data.removeprefix(b'\xef\xbb\xbf').lstrip()[:1] in (b'[', b'{'):
        labels = labels_of_json(data, name, size)
    else:
        labels = _labels_of_png(data, name, size)
    return of_size(labels, name, size)


def of_size(masks: NDArray[Any], name: str, size: tuple[int, int] | None) -> NDArray[Any]:
    """Return masks (..., H, W) after checking their size.

    Raises:
        MaskError: a different size.
    """
    if size is not None and masks.shape[-2:] != tuple(size):
        raise MaskError(f'{name}: the masks have {masks.shape[-2:]} pixels (H, W), the image {tuple(size)}')
    return masks


def read_gray(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read a gray mask of the CAT method, (H, W) uint8.

    Raises:
        MaskError: the file is missing, damaged, not 8-bit gray, or of a different size.
    """
    return decode_gray(read_file(path, MaskError), str(path), size)


def decode_gray(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read a gray mask like :func:`read_gray` from the bytes of a file."""
    pixels, mode = decode_png(data, name, size)
    if mode != 'L':
        raise MaskError(f'{name}: the CAT method needs an 8-bit gray mask, this is {mode}')
    return of_size(pixels, name, size)


def find_mask_file(folder: str | Path, stem: str) -> Path | None:
    """Return the masks of an image: ``<folder>/<stem>`` with one of ``SUFFIXES``, or a folder of that name with masks
    of Segment Anything. The stem may contain sub-folders and dots."""
    files = [path for suffix in SUFFIXES if (path := Path(folder) / f'{stem}{suffix}').is_file()]
    return files[0] if files else Path(folder) / stem if is_folder_of_masks(Path(folder) / stem) else None


def mask_files_below(root: Path) -> list[str]:
    """Return all mask files below a folder, as relative paths with ``/``, sorted.

    A folder with the masks of one image by Segment Anything counts once, as its ``metadata.csv``. Records of settings
    do not count.
    """
    names = files_below(root, (*SUFFIXES, '.csv'))
    folders = {name.removesuffix(METADATA) for name in names if name.endswith(f'/{METADATA}')}

    def counts(name: str) -> bool:
        folder, _, file = name.rpartition('/')
        if f'{folder}/' in folders:
            return file == METADATA
        return not name.endswith('.csv') and file != RECORD

    return [name for name in names if counts(name)]


def stem_of(key: str) -> str:
    """Return the path without extension that a file of :func:`mask_files_below` shares with its image."""
    return key.removesuffix(f'/{METADATA}') if key.endswith(f'/{METADATA}') else str(PurePosixPath(key).with_suffix(''))


def _labels_of_png(data: bytes, name: str, size: tuple[int, int] | None) -> NDArray[np.int32]:
    pixels, mode = decode_png(data, name, size)
    if mode == 'P':
        return pixels[None].astype(np.int32)
    if mode == '1':
        return labels_of_bilevel(pixels)
    if mode == 'L':
        return label_map_from_gray(pixels)
    texts = png_texts(data)
    stated = texts.get(SHAPE_KEY, '1 {} {}'.format(*pixels.shape))
    words = 2 if WIDE_KEY in texts else 1
    shape = [int(part) if part.isdigit() else 0 for part in stated.split()]
    if len(shape) != 3 or min(shape) < 1 or (words * shape[0] * shape[1], shape[2]) != pixels.shape:
        raise MaskError(f"{name}: its text '{SHAPE_KEY}' is {stated[:40]!r}, not 'L H W' of its pixels; recreate it")
    planes = pixels.reshape(words, *shape).astype(np.int32)
    return np.asarray(planes[0] if words == 1 else planes[0] | planes[1] << 16)
