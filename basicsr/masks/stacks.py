"""Read stacks of binary masks in ``.npy`` and ``.npz`` files, one mask at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from basicsr.images.headers import MAX_PIXELS
from basicsr.masks.label_map import pack_masks
from basicsr.utils.errors import MaskError

_KEYS = ('masks', 'arr_0')  # numpy's name of an array without a name


def labels_of_stack(data: bytes, name: str, size: tuple[int, int] | None = None) -> NDArray[np.int32]:
    """Read the label map of an ``.npz`` file with an array ``masks`` (or without a name), or of an ``.npy`` file.

    Args:
        data: content of the file: binary masks (M, H, W) or (M, 1, H, W); mask i becomes region i + 1.
        name: for error messages.
        size: (H, W) of the image, if known.

    Raises:
        MaskError: damaged, a different shape or type, not binary, or an empty mask; names file and index.
    """
    try:
        if not data.startswith(b'PK'):
            return _labels_of(io.BytesIO(data), name, size)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [entry.removesuffix('.npy') for entry in archive.namelist()]
            key = next((key for key in _KEYS if key in names), None)
            if key is None:
                raise MaskError(f"{name}: has no array 'masks', only {', '.join(names) or 'nothing'}")
            with archive.open(f'{key}.npy') as file:
                return _labels_of(file, name, size)
    except MaskError:
        raise
    except Exception as error:  # zipfile and numpy raise errors of many types
        raise MaskError(f'{name}: damaged, or not an .npz or .npy of plain arrays ({error})') from error


def _labels_of(file: IO[bytes], name: str, size: tuple[int, int] | None) -> NDArray[np.int32]:
    form: Any = np.lib.format  # has no type hints
    read = form.read_array_header_1_0 if form.read_magic(file) == (1, 0) else form.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    original = len(shape) == 4 and shape[1] == 1  # whose masks may be empty
    if dtype.hasobject:
        raise ValueError('it contains Python objects')
    if dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)) or not (original or len(shape) == 3):
        raise MaskError(f"{name}: 'masks' is {dtype} {shape}; expected boolean or uint8 (M, H, W) or (M, 1, H, W)")
    count, (height, width) = shape[0], shape[-2:]
    if height * width > MAX_PIXELS or 0 in (height, width):
        raise MaskError(f'{name}: masks of {height}×{width} pixels; 1 to {MAX_PIXELS} are supported')
    if by_columns:
        raise MaskError(f"{name}: 'masks' is stored column by column; save it with numpy.ascontiguousarray")

    def masks() -> Iterator[tuple[int, str, NDArray[np.bool_]]]:
        for index in range(count):
            content = file.read(height * width)
            if len(content) != height * width:
                raise MaskError(f'{name}: damaged (cut off in mask {index} of {count})')
            mask = np.frombuffer(content, np.uint8).reshape(height, width)
            if ((mask > 1) & (mask < 255)).any():
                raise MaskError(f'{name}: mask {index} has other values than 0 and 255; make it binary')
            yield index + 1, f'{name}: mask {index}', mask > 0
        if file.read(1):
            raise MaskError(f'{name}: damaged (more data than {count} masks of {height}×{width})')

    return pack_masks(masks(), name, size, (height, width), allow_empty=original)
