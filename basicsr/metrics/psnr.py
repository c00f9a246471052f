"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import (
    DataRange,
    ImageLike,
    InputOrder,
    image_pair,
    luma_of_bgr,
    resolve_data_range,
    views_of,
)
from basicsr.metrics.metric import DecibelMetric, Score, decibels, pair_of, require_rounded_luma
from basicsr.metrics.record import Record
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
def calculate_psnr(
    img: ImageLike,
    img2: ImageLike,
    crop_border: int = 0,
    input_order: InputOrder = 'HWC',
    test_y_channel: bool = False,
    data_range: DataRange = None,
) -> float:
    """Return the PSNR of one image in dB, from one mean squared error over all pixels and channels.

    The SAM-Deblur and NAFNet tables contain means of this over images, on uint8 RGB, without cropping.

    Args:
        img: output; array (H, W, C), (H, W), or (C, H, W) with ``input_order='CHW'``; tensor (C, H, W), (1, C, H, W).
            Six channels are a stereo pair; the result is the mean of both.
        img2: ground truth of the same size and dtype.
        crop_border: number of pixels to crop on each side.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays (tensors are always CHW).
        test_y_channel: score the luma of 8-bit images; channels must then be in **BGR** order, as in BasicSR.
        data_range: a number; None uses the dtype (uint8 255, uint16 65535, float 1.0); 'guess' is the rule of
            the original code: 1 if no value of ``img`` exceeds 1, else 255.

    Returns:
        dB; infinity for identical images.

    Raises:
        MetricError: shapes differ, NaN, cropping removes all pixels, unknown data range, luma of other than 8 bits.

    Example:
        >>> black, gray = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 9, np.uint8)
        >>> round(calculate_psnr(black, gray), 3), round(calculate_psnr(black, gray, data_range='guess'), 4)
        (29.046, -19.0849)
    """
    first, second = image_pair(img, img2, crop_border, input_order)
    values = [_psnr(a, b, test_y_channel, data_range) for a, b in views_of(first, second)]
    return sum(values) / len(values)


def mean_squared_error(first: Array, second: Array) -> float:
    """Return the mean squared difference over all samples, exact for integers with sums up to 2^53.

    Args:
        first: array (H, W, C).
        second: same shape.
    """
    if first.dtype == second.dtype and first.dtype in (np.uint8, np.uint16):
        if first.shape[2] > 4:  # OpenCV limits the number of channels
            first, second = first.reshape(len(first), -1), second.reshape(len(second), -1)
        # one pass over the integers; OpenCV returns the sum through a square root, which rounding reverts
        return round(cv2.norm(first, second, cv2.NORM_L2SQR)) / first.size
    difference = np.subtract(first, second, dtype=np.float64)
    return float(np.mean(np.square(difference, out=difference)))


def psnr_of_rows(output: Array, gt: Array) -> NDArray[np.float64]:
    """Return the PSNR of each row in dB, at most that of rounding (mean squared error 1/12), so that it is finite.

    Args:
        output: (H, W, C), uint8 or uint16.
        gt: ground truth of the same shape and dtype.

    Raises:
        MetricError: shapes or dtypes differ.
    """
    output, gt = image_pair(output, gt, 0, 'HWC')
    error = np.square(output.astype(np.float32) - gt.astype(np.float32)).mean((1, 2), dtype=np.float64)
    return np.asarray(20 * np.log10(float(np.iinfo(gt.dtype).max)) - 10 * np.log10(np.maximum(error, 1 / 12)))


def psnr_of_error(error: float, data_range: float) -> float:
    """Convert a mean squared error to dB.

    Args:
        error: mean squared error, at least 0.
        data_range: distance between black and white.
    """
    if error == 0 or not math.isfinite(error):  # identical, or the squares overflow
        return math.inf if error == 0 else -math.inf
    return 20 * math.log10(data_range / math.sqrt(error))


def _psnr(first: Array, second: Array, luma: bool, data_range: DataRange) -> float:
    if luma:
        first, second = luma_of_bgr(first), luma_of_bgr(second)
        data_range = 255.0 if data_range is None else data_range
    return psnr_of_error(mean_squared_error(first, second), resolve_data_range(first, second, data_range))


@METRIC_REGISTRY.register(name='psnr')
class PSNR(DecibelMetric):
    """PSNR on the rounded image, as ``calculate_psnr``.

    Args:
        crop_border: number of pixels to crop on each side.
        test_y_channel: score the luma instead of RGB.
        data_range: a number; None uses the dtype, 'guess' the rule of the original.
        rounded: score the rounded image; false scores the output before rounding, clamped to [0, 1]. The default
            follows ``val.use_image``.
    """

    name: ClassVar[str] = 'psnr'

    def __init__(
        self, crop_border: int = 0, test_y_channel: bool = False, data_range: DataRange = None, rounded: bool = True
    ) -> None:
        require_rounded_luma(test_y_channel, rounded)
        self._rounded = rounded
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        self.data_range: DataRange = data_range

    @property
    def variant(self) -> str:
        """Name with the scored channels."""
        return 'PSNR luma' if self.test_y_channel else 'PSNR' if self._rounded else 'PSNR before rounding'

    @property
    def reads_floats(self) -> bool:
        """Whether it scores the output before rounding."""
        return not self._rounded

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth."""
        pair = pair_of(record, self._rounded, self.data_range, self.test_y_channel)
        return decibels(calculate_psnr(*pair, self.crop_border, 'HWC', self.test_y_channel, self.data_range))


@METRIC_REGISTRY.register(name='psnr_float')
class PSNRFloat(DecibelMetric):
    """PSNR of the output before rounding, clamped to [0, 1] (LaKDNet's evaluation of defocus deblurring).

    Args:
        crop_border: number of pixels to crop on each side.
    """

    name: ClassVar[str] = 'psnr_float'
    variant = 'PSNR before rounding'
    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, crop_border: int = 0) -> None:
        self.crop_border = crop_border

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range."""
        return decibels(calculate_psnr(*pair_of(record, rounded=False), self.crop_border))
