"""Variants of structural similarity in float64; on a GPU, ``ssim_device.py`` computes the same map.

| variant | window | border | channels |
|---|---|---|---|
| 3-D (behind the published tables) | 11 x 11 x 11 | replicated, map of full size | one volume |
| 2-D | 11 x 11 | window inside the image | mean over channels |
| luma | 11 x 11 | replicated ('reference') or inside ('valid', BasicSR) | Y only |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import (
    DataRange,
    ImageLike,
    InputOrder,
    image_pair,
    luma_of_bgr,
    require_window,
    resolve_data_range,
    views_of,
)
from basicsr.metrics.gaussian import channel_mixing_matrix, gaussian_taps
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

LumaBorder: TypeAlias = Literal['reference', 'valid']

TAPS = gaussian_taps()
HALO = len(TAPS) // 2
BAND_ROWS = 64
"""Rows of a map computed at once on a CPU: their maps fit into its cache."""


@METRIC_REGISTRY.register()
def calculate_ssim(
    img: ImageLike,
    img2: ImageLike,
    crop_border: int = 0,
    input_order: InputOrder = 'HWC',
    test_y_channel: bool = False,
    ssim3d: bool = True,
    data_range: DataRange = None,
    luma_border: LumaBorder = 'reference',
    device: str = 'cpu',
) -> float:
    """Return the SSIM of one image (Wang et al. 2004), by default the 3-D variant of the SAM-Deblur and NAFNet tables.

    Do not compare different variants: 3-D values are much higher than 2-D values (0.92 and 0.79 on the same image).

    Args:
        img: output; array (H, W, C), (H, W), or (C, H, W) with ``input_order='CHW'``; tensor (C, H, W), (1, C, H, W).
            Six channels are a stereo pair; the result is the mean of both.
        img2: ground truth of the same size and dtype.
        crop_border: number of pixels to crop on each side.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays (tensors are always CHW).
        test_y_channel: score the luma of 8-bit images; channels must then be in **BGR** order, as in BasicSR.
        ssim3d: one 11 x 11 x 11 window over rows, columns and channels; otherwise 11 x 11 per channel.
        data_range: a number; None uses the dtype (uint8 255, uint16 65535, float 1.0); 'guess' is the rule of
            the original code: 1 if no value of ``img`` exceeds 1, else 255 (255 for luma).
        luma_border: 'reference' replicates the border as the original code, 'valid' crops it as BasicSR.
        device: computes the map, in float64. On a GPU, the last digits may differ.

    Returns:
        SSIM, at most 1; 1 for identical images.

    Raises:
        MetricError: shapes differ, NaN, cropping removes all pixels, unknown data range, luma of other than 8 bits,
            or (2-D and 'valid') a side is shorter than 11 pixels.

    Example:
        >>> image = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
        >>> calculate_ssim(image, image)
        1.0
    """
    if luma_border not in ('reference', 'valid'):
        raise MetricError(f"luma_border is {luma_border!r}; use 'reference' or 'valid'")
    first, second = image_pair(img, img2, crop_border, input_order)
    values = []
    for a, b in views_of(first, second):
        if test_y_channel:
            values.append(_ssim_luma(a, b, data_range, luma_border, device))
        elif ssim3d:
            values.append(_mean(a, b, resolve_data_range(a, b, data_range), device, volume=True))
        else:
            values.append(_ssim_valid(a, b, resolve_data_range(a, b, data_range), device))
    return sum(values) / len(values)


def ssim_map(first: Array, second: Array, data_range: float, volume: bool) -> Array:
    """Return the SSIM at every pixel and channel, with replicated borders.

    Four filter passes are enough, since only the sum of the two variances is needed.

    Args:
        first: array (H, W, C).
        second: array (H, W, C).
        data_range: distance between black and white.
        volume: filter along the channels as well (3-D).

    Returns:
        float64 (H, W, C).
    """
    x, y = first.astype(np.float64, order='C'), second.astype(np.float64, order='C')
    mean_x, mean_y = _window_mean(x, volume), _window_mean(y, volume)
    mean_xy = _window_mean(x * y, volume)
    np.square(x, out=x)
    x += np.square(y, out=y)
    mean_squares = _window_mean(x, volume)

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    product = mean_x * mean_y
    squares = np.square(mean_x, out=mean_x)
    squares += np.square(mean_y, out=mean_y)
    mean_xy -= product  # covariance
    mean_squares -= squares  # sum of both variances
    product *= 2
    product += c1
    mean_xy *= 2
    mean_xy += c2
    product *= mean_xy
    squares += c1
    mean_squares += c2
    squares *= mean_squares
    product /= squares
    return product


def _window_mean(image: Array, volume: bool) -> Array:
    """Return the Gaussian mean over rows and columns, and optionally over channels, as a small matrix."""
    rows_and_columns = cv2.sepFilter2D(image, cv2.CV_64F, TAPS, TAPS, borderType=cv2.BORDER_REPLICATE)
    mean = np.asarray(rows_and_columns).reshape(image.shape)
    return np.asarray(mean @ channel_mixing_matrix(image.shape[2], TAPS).T) if volume else mean


def mean_in_bands(map_of: Callable[[Array, Array], Any], first: Array, second: Array, border: int, rows: int) -> float:
    """Return the mean of a map of two images without its border, computed a few rows at a time.

    So the memory does not grow with the image. The result differs from the mean of the whole map by rounding.

    Args:
        map_of: returns the map (h, W, C) of rows (h, W, C) of both images; its windows have 11 rows.
        first: array (H, W, C).
        second: array (H, W, C).
        border: number of pixels to leave out on each side.
        rows: of a band.
    """
    height, width, channels = first.shape
    last, total = height - border, 0.0
    for start in range(border, last, rows):
        end = min(start + rows, last)
        top, bottom = max(0, start - HALO), min(height, end + HALO)  # replicated rows lie outside of start to end
        values = map_of(first[top:bottom], second[top:bottom])
        total = total + values[start - top : end - top, border : width - border].sum()
    return float(total / (channels * (last - border) * (width - 2 * border)))


def _mean(first: Array, second: Array, data_range: float, device: str, volume: bool = False, border: int = 0) -> float:
    """Return the mean of the map without its border."""

    def on(place: str) -> float:
        if place == 'cpu':
            return mean_in_bands(lambda a, b: ssim_map(a, b, data_range, volume), first, second, border, BAND_ROWS)
        from basicsr.metrics.ssim_device import BAND, ssim_map_on

        rows = max(1, BAND // first.shape[1])
        return mean_in_bands(
            lambda a, b: ssim_map_on(place, a, b, data_range, volume, TAPS), first, second, border, rows
        )

    if device == 'cpu':
        return on(device)
    from basicsr.metrics.on_device import on_device  # imports torch

    return on_device(device, on)


def _ssim_valid(first: Array, second: Array, data_range: float, device: str) -> float:
    """Return the mean over all positions of the 11 x 11 window inside the image."""
    require_window(first, 'SSIM without border (2-D, or valid luma)', len(TAPS))
    return _mean(first, second, data_range, device, border=HALO)


def _ssim_luma(first: Array, second: Array, data_range: DataRange, border: LumaBorder, device: str) -> float:
    # the original code always uses range 255 for luma
    peak = 255.0 if data_range in (None, 'guess') else resolve_data_range(first, second, data_range)
    first, second = luma_of_bgr(first), luma_of_bgr(second)
    if border == 'valid':
        return _ssim_valid(first, second, peak, device)
    return _mean(first, second, peak, device)
