"""Stacks of binary masks in ``.npy`` and ``.npz`` files, read one mask at a time."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.label_map import packer_for_file
from basicsr.utils.errors import MaskError
from basicsr.utils.image_headers import MAX_PIXELS

_KEYS = ('masks', 'arr_0')  # the second is what numpy calls an array without a name
_BROKEN = (
    *(OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, SyntaxError, MemoryError),
    *(struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError),
)


def labels_of_npz(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """The label map of an ``.npz`` file with an array ``masks`` (or without a name), see :func:`labels_of_npy`.

    Raises:
        MaskError: damaged, no such array, or masks that are not binary; the file is named.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry.removesuffix('.npy') for entry in archive.namelist()]
            key = next((key for key in _KEYS if key in names), None)
            if key is None:
                raise MaskError(f"{name}: has no array 'masks', only {', '.join(names) or 'nothing'}")
            with archive.open(f'{key}.npy') as file:
                return _labels_of(file, name, size)
    except MaskError:
        raise
    except _BROKEN as error:
        raise MaskError(f'{name}: damaged, or no .npz of plain arrays ({error})') from error


def labels_of_npy(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """The label map of an ``.npy`` file: binary masks (M, H, W) or (M, 1, H, W); mask i is region i + 1.

    Raises:
        MaskError: damaged, another shape or type, not binary, or a mask without a pixel; file and index are named.
    """
    try:
        return _labels_of(io.BytesIO(data), name, size)
    except MaskError:
        raise
    except _BROKEN as error:
        raise MaskError(f'{name}: damaged, or no .npy of a plain array ({error})') from error


def _labels_of(file: IO[bytes], name: str, size: tuple[int, int] | None) -> NDArray[np.int32]:
    shape, by_columns, dtype = _header(file, name)
    original = len(shape) == 4 and shape[1] == 1  # whose masks may be empty
    if dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)) or not (original or len(shape) == 3):
        raise MaskError(
            f"{name}: 'masks' is {dtype} {shape}; expected boolean or uint8 (M, H, W) or (M, 1, H, W), one binary mask "
            'after another'
        )
    count, (height, width) = shape[0], shape[-2:]
    if height * width > MAX_PIXELS or 0 in (height, width):
        raise MaskError(f'{name}: masks of {height}×{width} pixels; 1 to {MAX_PIXELS} are read')
    if by_columns:
        raise MaskError(f"{name}: 'masks' is stored column by column; save it with numpy.ascontiguousarray")
    packer = packer_for_file((height, width), size)
    for index in range(count):
        content = file.read(height * width)
        if len(content) != height * width:
            raise MaskError(f'{name}: damaged (cut off in mask {index} of {count})')
        mask = np.frombuffer(content, np.uint8).reshape(height, width)
        if ((mask > 1) & (mask < 255)).any():
            raise MaskError(f'{name}: mask {index} has other values than 0 and 255; only binary masks are read')
        try:
            there = packer.add(index + 1, mask > 0)
        except MaskError as error:
            raise MaskError(f'{name}: mask {index}: {error}') from error
        if not there and not original:
            raise MaskError(f'{name}: mask {index} is empty; leave it out')
    if file.read(1):
        raise MaskError(f'{name}: damaged (more data than {count} masks of {height}×{width})')
    return packer.labels()


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array; pickled ones are refused here."""
    form: Any = np.lib.format  # whose types are not told
    version = form.read_magic(file)
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise MaskError(f'{name}: damaged, or no .npz of plain arrays (it holds Python objects)')
    return shape, by_columns and len(shape) > 1, dtype
