"""Mask files: label maps as 16-bit PNG, the formats of the original, and those of other tools."""

from __future__ import annotations

import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from basicsr.masks.gray_coding import label_map_from_gray
from basicsr.masks.label_map import check_label_map
from basicsr.masks.other_tools import (
    METADATA,
    is_folder_of_masks,
    labels_of_black_and_white,
    labels_of_folder,
    labels_of_json,
    labels_of_palette,
)
from basicsr.masks.record import RECORD
from basicsr.masks.run_lengths import checked_size
from basicsr.masks.stacks import labels_of_npy, labels_of_npz
from basicsr.utils.errors import MaskError
from basicsr.utils.files import files_below, whole_file
from basicsr.utils.image_headers import MAX_PIXELS, read_header
from basicsr.utils.png_files import png_texts

SUFFIXES = ('.png', '.npz', '.npy', '.json')
SHAPE_KEY = 'label_map'  # PNG text chunk: 'L H W'
WIDE_KEY = 'high_words'  # PNG text chunk, if the layers are followed by as many with the upper 16 bits of their ids
STAMP_KEY = 'made_with'

_MOST_LAYERS = 64  # in the file of an image whose size is known


def write_label_map(path: str | Path, labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> None:
    """Write a label map as a 16-bit single-channel PNG, its layers stacked from top to bottom.

    The file appears complete or not at all.

    Args:
        path: ``<stem of the image>.png``; its folder must exist.
        labels: (L, H, W) integers. Where ids exceed 65535, layers of their upper 16 bits follow.
        stamp: kept in the file, see :func:`read_stamp`; names the settings that the masks were made with.
        compress_level: of the PNG; 1 is many times faster for files half as large again.

    Raises:
        MaskError: no label map, or an id above 2^31 - 1.
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
        with Path(path).open('rb') as file:
            return png_texts(file.read(2**16)).get(key, '')
    except OSError:
        return ''


def encode_label_map(labels: NDArray[Any], stamp: str = '', compress_level: int = 9) -> bytes:
    """The bytes of the PNG that :func:`write_label_map` writes."""
    labels = check_label_map(labels)
    largest = int(labels.max(initial=0))
    if largest > np.iinfo(np.int32).max:
        raise MaskError(f'ids up to 2147483647 fit a file, the largest here is {largest}; renumber them')
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
    """Read a mask file of any known format as a label map.

    * 16-bit PNG: a label map as it is (without our text chunk: one layer).
    * 8-bit gray PNG, and ``.npz`` with an array ``masks`` (M, 1, H, W): the original's formats; each gray value is a
      region, the background included.
    * Palette PNG: index k is region k, 0 is none. Black and white PNG: white areas, the largest first.
    * ``.npy``, and ``.npz`` with an array ``masks`` (M, H, W): mask i is region i + 1.
    * JSON with run lengths (Segment Anything, SA-1B), and a folder that Segment Anything's ``amg.py`` has written.

    Args:
        path: the file or folder; its content decides, not its name.
        size: (H, W) that the masks must have, the image's.

    Returns:
        label map (L, H, W).

    Raises:
        MaskError: the file is missing, damaged, of another format, or of another size; it is named, and so is the
            mask in it.
    """
    place = Path(path).parent if Path(path).name == METADATA else Path(path)
    if is_folder_of_masks(place):
        return _of_size(labels_of_folder(place, size), str(place), size)
    return decode_masks(_content(path), str(path), size)


def decode_masks(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """What :func:`read_masks` does, for the bytes of a file (from a data base); ``name`` is for messages."""
    if not data:
        raise MaskError(f'{name}: the file is empty (0 bytes)')
    if data.startswith(b'PK'):
        labels = labels_of_npz(data, name, size)
    elif data.startswith(b'\x93NUMPY'):
        labels = labels_of_npy(data, name, size)
    elif data.removeprefix(b'\xef\xbb\xbf').lstrip()[:1] in (b'[', b'{'):
        labels = labels_of_json(data, name, size)
    else:
        labels = _labels_of_png(data, name, size)
    return _of_size(labels, name, size)


def _of_size(labels: NDArray[np.int32], name: str, size: tuple[int, int] | None) -> NDArray[np.int32]:
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
    pixels, mode = _decode_png(data, name, size)
    if mode != 'L':
        raise MaskError(f'{name}: the CAT method needs an 8-bit gray picture, this is {mode}')
    if size is not None and pixels.shape != tuple(size):
        raise MaskError(f'{name}: the picture has {pixels.shape} pixels (H, W), the image {tuple(size)}')
    return pixels


def find_masks(folder: str | Path, stem: str) -> Path | None:
    """The masks of an image: ``<folder>/<stem>`` with one of ``SUFFIXES``, or a folder of that name that Segment
    Anything has written; the stem may have sub-folders and dots."""
    for suffix in SUFFIXES:
        candidate = Path(folder) / f'{stem}{suffix}'
        if candidate.is_file():
            return candidate
    return Path(folder) / stem if is_folder_of_masks(Path(folder) / stem) else None


def mask_files_below(root: Path) -> list[str]:
    """All mask files in a folder and its sub-folders, as paths below it with ``/``, sorted.

    A folder that Segment Anything has written for one image counts once, as its ``metadata.csv``; records of how masks
    were made do not count.
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
    """What a mask file of :func:`mask_files_below` shares with its image: the path without extension."""
    return key.removesuffix(f'/{METADATA}') if key.endswith(f'/{METADATA}') else str(PurePosixPath(key).with_suffix(''))


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise MaskError(f'{path}: cannot be read ({error.strerror or error})') from error


def _labels_of_png(data: bytes, name: str, size: tuple[int, int] | None) -> NDArray[np.int32]:
    pixels, mode = _decode_png(data, name, size)
    if mode == 'P':
        return labels_of_palette(pixels)
    if mode == '1':
        return labels_of_black_and_white(pixels)
    if mode == 'L':
        return label_map_from_gray(pixels)
    texts = png_texts(data)
    shape = _stated_shape(texts[SHAPE_KEY], name) if SHAPE_KEY in texts else (1, *pixels.shape)
    layers, height, width = shape
    words = 2 if WIDE_KEY in texts else 1
    if min(shape) < 1 or (words * layers * height, width) != pixels.shape:
        raise MaskError(f'{name}: its text says (L, H, W) = {shape}, its pixels are {pixels.shape}; make it again')
    planes = pixels.reshape(words, *shape).astype(np.int32)
    return np.asarray(planes[0] if words == 1 else planes[0] | planes[1] << 16)


def _stated_shape(text: str, name: str) -> tuple[int, int, int]:
    parts = text.split()
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise MaskError(f"{name}: its text '{SHAPE_KEY}' is {text[:40]!r}, not 'L H W'; make it again")
    layers, height, width = map(int, parts)
    return layers, height, width


def _decode_png(data: bytes, name: str, size: tuple[int, int] | None) -> tuple[NDArray[Any], str]:
    """Pixels (H, W), and what they are: 'L' (uint8 gray), 'I;16' (uint16), 'P' (uint8 indices) or '1' (boolean)."""
    import imagecodecs

    most = MAX_PIXELS if size is None else max(MAX_PIXELS, _MOST_LAYERS * size[0] * size[1])
    try:
        header = read_header(data, name, most)
        if header.size is not None and header.format == 'PNG' and SHAPE_KEY not in png_texts(data):
            # one layer; its size is known before it is decoded
            checked_size(list(header.size), name, size)
        if header.format == 'PNG' and data[24:26] in (b'\x08\0', b'\x10\0'):  # gray
            pixels = np.asarray(imagecodecs.png_decode(data))  # Pillow has a limit of its own
            pixels = pixels if pixels.ndim == 2 else pixels[..., 0]
            return pixels, 'L' if pixels.dtype == np.uint8 else 'I;16'
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            mode, pixels = image.mode, np.asarray(image)
    except MaskError:
        raise
    except UnidentifiedImageError as error:
        raise MaskError(f'{name}: neither a PNG nor an .npz, .npy or JSON file') from error
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise MaskError(f'{name}: damaged ({str(error).removeprefix(f"{name}: ")}); make it again') from error
    if mode not in ('L', 'P', '1'):
        raise MaskError(f'{name}: masks are single-channel PNG (gray, palette, black and white), this one is {mode}')
    return pixels, mode
