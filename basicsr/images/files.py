"""Read and write image files, and convert network outputs to images."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import torch
from PIL import ExifTags, Image

from basicsr.images.arrays import Array
from basicsr.images.headers import MAX_PIXELS, read_header
from basicsr.images.orientation import upright
from basicsr.utils.errors import ImageFileError, ShapeError
from basicsr.utils.files import read_file, write_whole

Bits: TypeAlias = Literal[8, 16, 'high_byte'] | None

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp')
"""Extensions of images in a folder, in lower case."""

_WHITE: dict[Any, float] = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_COLOURS = {None: cv2.IMREAD_ANYCOLOR, 1: cv2.IMREAD_GRAYSCALE, 3: cv2.IMREAD_COLOR}
_WRITING = {'.png': [cv2.IMWRITE_PNG_COMPRESSION, 3], '.jpg': [cv2.IMWRITE_JPEG_QUALITY, 95]}


def imread(path: str | Path, channels: Literal[1, 3] | None = None) -> Array:
    """Read an image file.

    Args:
        path: TIFF, or any format that OpenCV supports.
        channels: 3 converts gray to RGB, 1 converts RGB to gray, None keeps the channels; transparency is dropped.

    Returns:
        (H, W, 3) RGB, or (H, W, 1); uint8, or uint16 for 16-bit files.

    Raises:
        ImageFileError: the file is missing, empty, damaged, cut off, or has neither 8 nor 16 bits.
    """
    return decode_image(read_file(path, ImageFileError), str(path), channels)


def image_size(path: Path) -> tuple[int, int] | None:
    """Return (H, W) of an image as :func:`imread` reads it, without decoding it.

    Returns:
        the size; None if the file is not an image, cannot be read, or is cut off.
    """
    try:
        with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if read_header(data, str(path)).format == 'TIFF':
                from basicsr.images.tiff import tiff_size

                return tiff_size(data, str(path))
        with Image.open(path) as image:
            # asking a PNG without EXIF for it would decode the PNG
            if image.width * image.height > MAX_PIXELS:
                return None
            turned = 'exif' in image.info and image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def decode_image(data: bytes, name: str, channels: Literal[1, 3] | None = None, bits: Bits = None) -> Array:
    """Decode the bytes of an image file, as ``imread``.

    Args:
        data: content of the file.
        name: file or database key, for error messages.
        channels: as in ``imread``.
        bits: required bits per sample: 8, 16, or None for either. 'high_byte' converts 16 bits to 8 without rounding,
            by dropping the lower ones, like evaluations that read 16-bit files as 8-bit ones.

    Returns:
        (H, W, 3) RGB, or (H, W, 1); uint8 or uint16.

    Raises:
        ImageFileError: the data are empty, damaged, cut off, or have other bits than required.
    """
    if read_header(data, name).format == 'TIFF':
        return _decode_tiff(data, name, channels, bits)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _COLOURS[channels] | cv2.IMREAD_ANYDEPTH)
    except cv2.error as error:
        raise ImageFileError(f'{name}: cannot be decoded ({error.err})') from error
    if image is None:
        raise ImageFileError(f'{name}: damaged, or not an image format that OpenCV supports')
    if image.dtype not in _WHITE:
        raise ImageFileError(f'{name}: contains {image.dtype} values; only 8- and 16-bit images are supported')
    image = with_bits(np.asarray(image), bits, name)
    return image[:, :, np.newaxis] if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _decode_tiff(data: bytes, name: str, channels: Literal[1, 3] | None, bits: Bits) -> Array:
    from basicsr.images.tiff import read_tiff

    tiff = read_tiff(data, name)
    image = with_bits(upright(tiff.planes.colour, tiff.orientation), bits, name)
    if channels == 3 and image.shape[2] == 1:
        image = np.repeat(image, 3, 2)
    elif channels == 1 and image.shape[2] == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[..., np.newaxis]
    return image


def with_bits(image: Array, bits: Bits, name: str) -> Array:
    """Check or convert the bits per sample of an image; see ``decode_image``.

    Args:
        image: uint8 or uint16.
        bits: 8, 16, 'high_byte', or None for no change.
        name: for the error message.

    Raises:
        ImageFileError: 8 bits instead of 16, or the reverse.
    """
    if bits == 'high_byte':
        return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    if bits == 16 and image.dtype == np.uint8:
        raise ImageFileError(f'{name}: has 8 bits per sample, expected 16; use the 16-bit original')
    if bits == 8 and image.dtype == np.uint16:
        raise ImageFileError(f'{name}: has 16 bits per sample, expected 8; set bits to high_byte or null')
    return image


def same_depth(first: Array, second: Array) -> tuple[Array, Array]:
    """Convert two images of 8 or 16 bits to the same depth: v / 255 = 257 v / 65535."""
    if first.dtype == second.dtype:
        return first, second
    wide = [image if image.dtype == np.uint16 else image.astype(np.uint16) * 257 for image in (first, second)]
    return wide[0], wide[1]


def imwrite(path: str | Path, image: Array) -> None:
    """Write an image file; it appears complete or not at all.

    Args:
        path: its extension determines the format; its folder must exist.
        image: (H, W, 3) RGB, (H, W, 1) or (H, W); uint8, or uint16 for PNG and TIFF.

    Raises:
        ImageFileError: a different shape or dtype, or an unsupported format.
        OSError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    planes = image[..., None] if image.ndim == 2 else image
    suffix = path.suffix.lower()
    dtypes = (np.uint8, np.uint16) if suffix in ('.png', '.tif', '.tiff') else (np.uint8,)
    if planes.ndim != 3 or planes.shape[2] not in (1, 3) or planes.dtype not in dtypes:
        raise ImageFileError(f'{path}: an image of {image.dtype} {image.shape} cannot be written in this format')
    try:
        done, data = cv2.imencode(suffix, np.ascontiguousarray(planes[..., ::-1]), _WRITING.get(suffix, []))
    except cv2.error as error:
        raise ImageFileError(f'{path}: OpenCV does not support this image format ({error.err})') from error
    if not done:
        raise ImageFileError(f'{path}: cannot be encoded')
    write_whole(path, data.tobytes())


def tensor2img(
    tensor: torch.Tensor | Sequence[torch.Tensor],
    rgb2bgr: bool = True,
    out_type: Any = np.uint8,
    min_max: tuple[float, float] = (0, 1),
) -> Any:
    """Convert a network output to an image: clamp, scale in float32, round half to even.

    Args:
        tensor: (1, C, H, W), (C, H, W) or (H, W), RGB, C = 1 or 3; or a list of these.
        rgb2bgr: return three channels in BGR order, as OpenCV writes them.
        out_type: np.uint8 (0..255), np.uint16 (0..65535), or a float type (0..1, not rounded).
        min_max: the values of black and white.

    Returns:
        (H, W, 3), or (H, W) for one channel; a list for a list. NaN becomes black (metrics report it).

    Raises:
        ShapeError: a batch of more than one image (pass a list of its images), or a different shape.

    Example:
        >>> tensor2img(torch.tensor([[0.5 / 255, 1.5 / 255, 2.0]])).tolist()
        [[0, 2, 255]]
    """
    if not isinstance(tensor, torch.Tensor):
        return [tensor2img(item, rgb2bgr, out_type, min_max) for item in tensor]
    if tensor.ndim == 4 and tensor.shape[0] != 1:
        raise ShapeError(f'a batch of shape {tuple(tensor.shape)} is not one image; pass a list of its images')
    planes = tensor[0] if tensor.ndim == 4 else tensor
    planes = planes[None] if planes.ndim == 2 else planes
    if planes.ndim != 3 or planes.shape[0] not in (1, 3):
        raise ShapeError(f'expected (1, C, H, W), (C, H, W) or (H, W) with C = 1 or 3, got {tuple(tensor.shape)}')
    black, white = min_max
    # on the device of the tensor, where rounding is fast and the result has a quarter of the bytes
    unit = (planes.detach().float().clamp(black, white) - black) / (white - black)
    scaled = unit.nan_to_num(nan=0.0) * _WHITE.get(np.dtype(out_type), 1.0)
    if np.dtype(out_type) in _WHITE:
        scaled = scaled.round().to(torch.uint8 if np.dtype(out_type) == np.uint8 else torch.int32)
    image = scaled.cpu().numpy().astype(out_type, copy=False)
    if len(image) == 1:
        return np.asarray(image[0])
    return np.ascontiguousarray((image[::-1] if rgb2bgr else image).transpose(1, 2, 0))
