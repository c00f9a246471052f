"""Mask files: label maps as 16-bit PNG, and the formats of the original (``.npz`` stacks, gray PNG)."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile, PngInfo

from basicsr.masks.gray_coding import label_map_from_gray
from basicsr.masks.label_map import check_label_map, label_map_from_masks
from basicsr.utils.errors import MaskError
from basicsr.utils.files import whole_file

SUFFIXES = ('.png', '.npz')
SHAPE_KEY = 'label_map'  # PNG text chunk: 'L H W'
STAMP_KEY = 'made_with'
_BROKEN_NPZ = (OSError, ValueError, EOFError, KeyError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)


def write_label_map(path: str | Path, labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> None:
    """Write a label map as a 16-bit single-channel PNG, its layers stacked from top to bottom.

    The file appears complete or not at all.

    Args:
        path: ``<stem of the image>.png``; its folder must exist.
        labels: (L, H, W) integers, ids up to 65535.
        stamp: kept in the file, see :func:`read_stamp`; names the settings that the masks were made with.
        compress_level: of the PNG; 1 is many times faster for files half as large again.

    Raises:
        MaskError: no label map, or an id above 65535.
        OSError: the disk is full or the folder cannot be written.
    """
    data = encode_label_map(labels, stamp, compress_level)
    with whole_file(Path(path)) as file:
        file.write(data)


def read_stamp(path: str | Path) -> str:
    """The stamp of a label map file; empty if it has none or is no PNG."""
    return _text(path, STAMP_KEY)


def is_label_map(path: str | Path) -> bool:
    """Whether a file says of itself that it is a label map."""
    return bool(_text(path, SHAPE_KEY))


def _text(path: str | Path, key: str) -> str:
    try:
        with Image.open(path, formats=['PNG']) as image:
            return str(image.info.get(key, ''))
    except (OSError, SyntaxError, ValueError):
        return ''


def encode_label_map(labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> bytes:
    """The bytes of the PNG that :func:`write_label_map` writes."""
    labels = check_label_map(labels)
    if labels.size and labels.max() > 65535:
        raise MaskError(f'ids up to 65535 fit a 16-bit file, the largest here is {labels.max()}; renumber them')
    shape = PngInfo()
    shape.add_text(SHAPE_KEY, ' '.join(map(str, labels.shape)))
    if stamp:
        shape.add_text(STAMP_KEY, stamp)
    stacked = labels.reshape(-1, labels.shape[2]).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(stacked).save(buffer, 'PNG', pnginfo=shape, compress_level=compress_level)
    return buffer.getvalue()


def read_masks(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read a mask file of any known format as a label map.

    16-bit PNG: a label map as it is (without our text chunk: one layer). 8-bit gray PNG and ``.npz`` with an array
    ``masks`` (M, 1, H, W): the original's formats, where the background is a region of its own.

    Args:
        path: the file; its content decides, not its name.
        size: (H, W) that the masks must have, the image's.

    Returns:
        label map (L, H, W).

    Raises:
        MaskError: the file is missing, damaged, of another format, or of another size; it is named.
    """
    return decode_masks(_content(path), str(path), size)


def decode_masks(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """What :func:`read_masks` does, for the bytes of a file (from a data base); ``name`` is for messages."""
    if not data:
        raise MaskError(f'{name}: the file is empty (0 bytes)')
    labels = _labels_of_npz(data, name) if data.startswith(b'PK') else _labels_of_png(data, name)
    if size is not None and labels.shape[1:] != tuple(size):
        raise MaskError(f'{name}: the masks have {labels.shape[1:]} pixels (H, W), the image {tuple(size)}')
    return labels


def read_gray(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read the gray mask picture of the CAT method, (H, W) uint8.

    Raises:
        MaskError: the file is missing, damaged, not 8-bit gray, or of another size.
    """
    return decode_gray(_content(path), str(path), size)


def decode_gray(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """What :func:`read_gray` does, for the bytes of a file."""
    pixels, _ = _decode_png(data, name)
    if pixels.dtype != np.uint8:
        raise MaskError(f'{name}: the CAT method needs an 8-bit gray picture, this is {pixels.dtype}')
    if size is not None and pixels.shape != tuple(size):
        raise MaskError(f'{name}: the picture has {pixels.shape} pixels (H, W), the image {tuple(size)}')
    return pixels


def find_masks(folder: str | Path, stem: str) -> Path | None:
    """The mask file of an image: ``<folder>/<stem>.png`` or ``.npz``; the stem may have sub-folders and dots."""
    for suffix in SUFFIXES:
        candidate = Path(folder) / f'{stem}{suffix}'
        if candidate.is_file():
            return candidate
    return None


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise MaskError(f'{path}: cannot be read ({error.strerror or error})') from error


def _labels_of_png(data: bytes, name: str) -> NDArray[np.int32]:
    pixels, shape_text = _decode_png(data, name)
    if pixels.dtype == np.uint8:
        return label_map_from_gray(pixels)
    shape = _stated_shape(shape_text, name) if shape_text else (1, *pixels.shape)
    layers, height, width = shape
    if min(shape) < 1 or (layers * height, width) != pixels.shape:
        raise MaskError(f'{name}: its text says (L, H, W) = {shape}, its pixels are {pixels.shape}; make it again')
    return pixels.reshape(shape).astype(np.int32)


def _stated_shape(text: str, name: str) -> tuple[int, int, int]:
    parts = text.split()
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise MaskError(f"{name}: its text '{SHAPE_KEY}' is {text[:40]!r}, not 'L H W'; make it again")
    layers, height, width = map(int, parts)
    return layers, height, width


def _decode_png(data: bytes, name: str) -> tuple[NDArray[Any], str]:
    """Pixels (H, W) in uint8 or uint16, and our text chunk ('' without one)."""
    if data.startswith(b'\x89PNG') and b'IEND' not in data[-16:]:  # Pillow reads on where only the end is missing
        raise MaskError(f'{name}: damaged (cut off after {len(data)} bytes); make it again')
    try:
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            image.load()
            text = str(image.text.get(SHAPE_KEY, '')) if isinstance(image, PngImageFile) else ''
            mode, pixels = image.mode, np.asarray(image)
    except UnidentifiedImageError as error:
        raise MaskError(f'{name}: neither a PNG nor an .npz file') from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MaskError(f'{name}: damaged ({error}); make it again') from error
    if mode not in ('L', 'I;16', 'I'):
        raise MaskError(f'{name}: masks are single-channel 8- or 16-bit pictures, this one is {mode}')
    return (pixels if mode == 'L' else pixels.astype(np.uint16)), text


def _labels_of_npz(data: bytes, name: str) -> NDArray[np.int32]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            keys = list(file.files)
            masks = file['masks'] if 'masks' in keys else None
    except _BROKEN_NPZ as error:
        raise MaskError(f'{name}: damaged, or no .npz of plain arrays ({error})') from error
    if masks is None:
        raise MaskError(f"{name}: has no array 'masks', only {', '.join(keys) or 'nothing'}")
    if masks.dtype == np.uint8 and masks.size and not np.isin(np.unique(masks), (0, 1, 255)).all():
        raise MaskError(f"{name}: 'masks' is uint8 with other values than 0 and 255; only binary masks are read")
    if masks.dtype not in (np.bool_, np.uint8) or masks.ndim != 4 or masks.shape[1] != 1:
        raise MaskError(f"{name}: 'masks' is {masks.dtype} {masks.shape}; expected boolean or uint8 (M, 1, H, W)")
    return label_map_from_masks(masks.astype(np.bool_))
