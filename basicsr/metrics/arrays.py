"""Convert arrays and tensors to pairs of HWC arrays that can be scored."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import torch

from basicsr.images.arrays import Array
from basicsr.utils.errors import MetricError

ImageLike: TypeAlias = Array | torch.Tensor
InputOrder: TypeAlias = Literal['HWC', 'CHW']
DataRange: TypeAlias = float | Literal['guess'] | None

FIRST = 'the first image (img, the output)'
SECOND = 'the second image (img2, the ground truth)'

_RANGE_OF_DTYPE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
_LUMA_OF_BGR = np.array([[24.966], [128.553], [65.481]])
_RED_BLUE_SWAPPED = {3: [2, 1, 0], 4: [2, 1, 0, 3], 6: [2, 1, 0, 5, 4, 3]}


def to_hwc(image: ImageLike, input_order: InputOrder = 'HWC', name: str = 'the image') -> Array:
    """Return an image as an HWC array.

    Args:
        image: array (H, W), (H, W, C) or, with ``input_order='CHW'``, (C, H, W); or a tensor (H, W), (C, H, W)
            or (1, C, H, W), for which ``input_order`` is ignored.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays.
        name: of the image in error messages.

    Returns:
        array (H, W, C), C = 1 for two-dimensional input; bfloat16 becomes float32, other dtypes stay.

    Raises:
        MetricError: a different shape, or neither integers nor floats.

    Example:
        >>> to_hwc(torch.zeros(1, 3, 4, 5)).shape
        (4, 5, 3)
    """
    if input_order not in ('HWC', 'CHW'):
        raise MetricError(f"input_order is {input_order!r}; use 'HWC' or 'CHW'")
    if isinstance(image, torch.Tensor):
        image, input_order = _array_of_tensor(image, name), 'CHW'
    if not isinstance(image, np.ndarray) or image.dtype.kind not in 'uif':
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise MetricError(f'{name} is of type {kind}; pass an array or a tensor of integers or floats')
    if image.ndim == 2:
        return image[:, :, np.newaxis]
    if image.ndim != 3:
        raise MetricError(f'{name} has shape {image.shape}; pass one image with 2 or 3 dimensions')
    return np.ascontiguousarray(image.transpose(1, 2, 0)) if input_order == 'CHW' else image  # as OpenCV needs it


def image_pair(img: ImageLike, img2: ImageLike, crop_border: int, input_order: InputOrder) -> tuple[Array, Array]:
    """Convert two images to HWC, check that they can be compared, and crop them.

    Args:
        img: output, as for ``to_hwc``.
        img2: ground truth of the same size.
        crop_border: number of pixels to crop on each side.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays.

    Returns:
        two arrays (H - 2 crop, W - 2 crop, C); views where possible.

    Raises:
        MetricError: shapes differ, NaN or infinity, or cropping removes all pixels.
    """
    first, second = to_hwc(img, input_order, FIRST), to_hwc(img2, input_order, SECOND)
    if first.shape != second.shape:
        raise MetricError(f'{FIRST} has shape {first.shape} but {SECOND} has {second.shape} (H, W, C); they must match')
    require_finite(first, FIRST)
    require_finite(second, SECOND)
    return crop(first, crop_border), crop(second, crop_border)


def require_finite(image: Array, name: str) -> None:
    """Check for NaN and infinity, which would make the mean over a data set NaN.

    Args:
        image: array of any shape.
        name: in the error message.

    Raises:
        MetricError: NaN or infinity, with the number of such values.
    """
    if image.dtype.kind == 'f' and not np.isfinite(image).all():
        count = int(image.size - np.isfinite(image).sum())
        raise MetricError(f'{name} contains {count} NaN or infinite values of {image.size}; has the network diverged?')


def crop(image: Array, border: int) -> Array:
    """Crop ``border`` pixels on each side.

    Args:
        image: array (H, W, C).
        border: pixels, at least 0.

    Raises:
        MetricError: border is negative, or removes all pixels.
    """
    if not isinstance(border, int) or border < 0:
        raise MetricError(f'crop_border is {border!r}; it must be an integer, at least 0')
    height, width = image.shape[:2]
    if min(height, width) <= 2 * border or image.size == 0:
        raise MetricError(f'crop_border {border} removes all pixels of a {height} x {width} image')
    return image[border : height - border, border : width - border]


def require_window(image: Array, what: str, taps: int = 11) -> None:
    """Check that an image is at least as large as the window of a metric.

    Args:
        image: array (H, W, C).
        what: the metric, for the error message.
        taps: side of the window in pixels.

    Raises:
        MetricError: height or width is smaller than the window.
    """
    if min(image.shape[:2]) < taps:
        size = f'{image.shape[0]} x {image.shape[1]}'
        raise MetricError(f'{what} needs at least {taps} pixels a side, the image has {size} after cropping')


def resolve_data_range(first: Array, second: Array, data_range: DataRange) -> float:
    """Return the distance between black and white for a metric.

    Args:
        first: output (H, W, C).
        second: ground truth (H, W, C).
        data_range: a number; None uses the dtype (uint8 255, uint16 65535, float 1.0); 'guess' is the rule of the
            original code: 1 if no value of the first image exceeds 1, else 255 (an almost black 8-bit image gets
            range 1).

    Raises:
        MetricError: the dtypes differ or are not supported, a float ground truth exceeds 2 (so is not in [0, 1]), or
            data_range is not a positive number.
    """
    if data_range == 'guess':
        return 1.0 if first.max() <= 1 else 255.0
    if data_range is not None:
        if type(data_range) not in (int, float, np.float64, np.float32) or not 0 < data_range < np.inf:
            raise MetricError(f"data_range is {data_range!r}; use a positive number, None (from the dtype) or 'guess'")
        return float(data_range)
    if first.dtype.kind == second.dtype.kind == 'f':
        if second.max() > 2:
            raise MetricError(f'{SECOND} is float with a maximum of {second.max():.6g}, not in [0, 1]; pass data_range')
        return 1.0
    if first.dtype != second.dtype or first.dtype not in _RANGE_OF_DTYPE:
        raise MetricError(
            f'unknown data range of {first.dtype} and {second.dtype}; '
            'pass data_range, or two images of the same dtype: uint8, uint16, or float in [0, 1]'
        )
    return _RANGE_OF_DTYPE[first.dtype]


def luma_of_bgr(image: Array) -> Array:
    """Return the luma (Y) of ITU-R BT.601 in studio range, 16..235, not rounded (as in the original code).

    Args:
        image: uint8 (H, W, 3) in **BGR** order; a gray image (H, W, 1) is its own luma.

    Returns:
        float64 (H, W, 1).

    Raises:
        MetricError: not 8 bits, or not 1 or 3 channels.

    Example:
        >>> float(luma_of_bgr(np.full((1, 1, 3), 255, np.uint8))[0, 0, 0])
        235.0
    """
    if image.dtype != np.uint8:
        advice = 'round and convert to uint8 first (in an option file: bits: high_byte of the data set)'
        raise MetricError(f'luma is defined on 8-bit images, not on {image.dtype}; {advice}')
    if image.shape[2] == 1:
        return image.astype(np.float64)
    if image.shape[2] != 3:
        raise MetricError(f'luma needs 1 or 3 channels, the image has {image.shape[2]}')
    return np.asarray(image.astype(np.float64, order='C') @ _LUMA_OF_BGR / 255.0 + 16.0)


def views_of(first: Array, second: Array) -> list[tuple[Array, Array]]:
    """Return the pairs to score: both halves of six-channel stereo images, otherwise the pair itself.

    Args:
        first: output (H, W, C).
        second: ground truth (H, W, C).
    """
    if first.shape[2] != 6:
        return [(first, second)]
    return [(first[..., :3], second[..., :3]), (first[..., 3:], second[..., 3:])]


def swap_red_and_blue(image: Array) -> Array:
    """Convert RGB to BGR or back; keep a fourth channel, and convert both halves of six channels.

    Args:
        image: array (H, W, C); other numbers of channels are returned unchanged.
    """
    order = _RED_BLUE_SWAPPED.get(image.shape[2])
    return image if order is None else image[..., order]


def unit_float(image: Array, name: str = 'the image') -> Array:
    """Return an image as float64 in [0, 1].

    Args:
        image: uint8 or uint16 of any shape, divided by 255 or 65535; floats are not scaled.
        name: how an error message calls it.

    Raises:
        MetricError: a different dtype.
    """
    if image.dtype.kind == 'f':
        return image.astype(np.float64)
    if image.dtype not in _RANGE_OF_DTYPE:
        raise MetricError(f'{name} is {image.dtype}; pass uint8, uint16 or float in [0, 1]')
    return image / _RANGE_OF_DTYPE[image.dtype]


def _array_of_tensor(tensor: torch.Tensor, name: str) -> Array:
    """Convert a tensor (H, W), (C, H, W) or (1, C, H, W) to an array (C, H, W) or (H, W)."""
    if tensor.ndim == 4 and tensor.shape[0] != 1:
        raise MetricError(f'{name} is a batch of shape {tuple(tensor.shape)}; pass single images')
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return np.asarray((tensor[0] if tensor.ndim == 4 else tensor).numpy())
