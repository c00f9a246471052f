"""PSNR and SSIM over the best shift of the output, and the similarity of blur kernels.

A blurred photo does not tell where its sharp image was: a kernel and its image are known only up to a shift. These
scores do not depend on it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import DataRange, ImageLike, InputOrder, crop, image_pair, require_finite
from basicsr.metrics.metric import DecibelMetric, Metric, Score, decibels
from basicsr.metrics.psnr import calculate_psnr, mean_squared_error
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import calculate_ssim
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

Shift = tuple[int, int]

_ROUNDING = 1e-12  # of a sum of products by FFT, relative to the sum of the squares


def find_best_shift(
    img: ImageLike, img2: ImageLike, max_shift: int = 6, crop_border: int = 15, input_order: InputOrder = 'HWC'
) -> Shift:
    """Return the integer shift of the output with the smallest mean squared error.

    The squared errors of all shifts are sums of squares minus twice a cross-correlation, which is computed by FFT.

    Args:
        img: output; array (H, W, C), (H, W), or (C, H, W) with ``input_order='CHW'``; tensor (C, H, W), (1, C, H, W).
        img2: ground truth of the same size and dtype.
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays (tensors are always CHW).

    Returns:
        (rows, columns): pixel (y + rows, x + columns) of the output belongs to pixel (y, x) of the ground truth. Of
        equal shifts, the smallest.

    Raises:
        MetricError: shapes differ, NaN, ``crop_border`` is less than ``max_shift`` or removes all pixels.
    """
    output, gt = image_pair(img, img2, 0, input_order)
    return _find(output, gt, max_shift, crop_border)


@METRIC_REGISTRY.register()
def calculate_psnr_best_shift(
    img: ImageLike,
    img2: ImageLike,
    max_shift: int = 6,
    crop_border: int = 15,
    input_order: InputOrder = 'HWC',
    data_range: DataRange = None,
) -> float:
    """Return the largest PSNR of one image over integer shifts of the output, in dB.

    Every shift is scored on the same pixels of the ground truth: those without the border.

    Args:
        img: output; array (H, W, C), (H, W), or (C, H, W) with ``input_order='CHW'``; tensor (C, H, W), (1, C, H, W).
        img2: ground truth of the same size and dtype.
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays (tensors are always CHW).
        data_range: a number; None uses the dtype (uint8 255, uint16 65535, float 1.0); 'guess' is 1 if no value of
            ``img`` exceeds 1, else 255.

    Returns:
        dB; infinity for identical images.

    Raises:
        MetricError: shapes differ, NaN, ``crop_border`` is less than ``max_shift`` or removes all pixels, unknown data
            range.

    Example:
        >>> image = np.arange(1600, dtype=np.uint16).reshape(40, 40)
        >>> calculate_psnr_best_shift(np.roll(image, 2, axis=0), image, max_shift=2)
        inf
    """
    output, gt = image_pair(img, img2, 0, input_order)
    shift = _find(output, gt, max_shift, crop_border)
    return float(calculate_psnr(*_windows(output, gt, shift, crop_border), data_range=data_range))


@METRIC_REGISTRY.register()
def calculate_ssim_best_shift(
    img: ImageLike,
    img2: ImageLike,
    max_shift: int = 6,
    crop_border: int = 15,
    input_order: InputOrder = 'HWC',
    data_range: DataRange = None,
) -> float:
    """Return the 3-D SSIM of one image at the shift of the output with the largest PSNR.

    Arguments are those of :func:`calculate_psnr_best_shift`.

    Returns:
        SSIM, at most 1; 1 for identical images.

    Raises:
        MetricError: as :func:`calculate_psnr_best_shift`.
    """
    output, gt = image_pair(img, img2, 0, input_order)
    shift = _find(output, gt, max_shift, crop_border)
    return float(calculate_ssim(*_windows(output, gt, shift, crop_border), data_range=data_range))


@METRIC_REGISTRY.register()
def calculate_kernel_similarity(img: ImageLike, img2: ImageLike) -> float:
    """Return the largest normalised cross-correlation of two blur kernels over all shifts (Hu and Yang, ECCV 2012).

    Args:
        img: kernel, array or tensor (h, w), not negative, not all 0.
        img2: kernel of any size.

    Returns:
        0 to 1; 1 for kernels that differ only by a shift and a factor.

    Raises:
        MetricError: not two-dimensional, NaN, negative values, or only zeros.

    Example:
        >>> round(calculate_kernel_similarity(np.eye(3), 2 * np.eye(5)[:, 1:4]), 6)
        1.0
    """
    import torch

    from basicsr.deconvolution.similarity import kernel_similarity  # slow to import

    kernels = []
    for name, kernel in (('the first kernel', img), ('the second kernel', img2)):
        values = np.asarray(kernel.detach().cpu() if isinstance(kernel, torch.Tensor) else kernel)
        if values.ndim != 2 or values.dtype.kind not in 'uif':
            raise MetricError(f'{name} has shape {values.shape} and type {values.dtype}; pass numbers of shape (h, w)')
        require_finite(values, name)
        if not values.size or values.min() < 0 or not values.any():
            raise MetricError(f'{name} has negative values or only zeros; pass a blur kernel')
        kernels.append(torch.from_numpy(values.astype(np.float64)))
    return min(kernel_similarity(*kernels), 1.0)


class _BestShift(Metric):
    """Base of the metrics over shifts, which share the search on a record."""

    def __init__(self, max_shift: int = 6, crop_border: int = 15) -> None:
        _require_room(max_shift, crop_border)
        self.max_shift = max_shift
        self.crop_border = crop_border

    def _pair(self, record: Record) -> tuple[Array, Array]:
        output, gt = image_pair(record.array('output_uint8'), record.array('gt'), 0, 'HWC')
        key = 'best shift', self.max_shift, self.crop_border
        shift = record.cached(key, lambda: _find(output, gt, self.max_shift, self.crop_border))
        return _windows(output, gt, shift, self.crop_border)


@METRIC_REGISTRY.register(name='psnr_best_shift')
class PSNRBestShift(_BestShift, DecibelMetric):
    """PSNR of the rounded output over the best integer shift, as ``calculate_psnr_best_shift``.

    Args:
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
    """

    name: ClassVar[str] = 'psnr_best_shift'

    @property
    def variant(self) -> str:
        """Name with the largest shift."""
        return f'PSNR, best shift of ±{self.max_shift}'

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth."""
        return decibels(calculate_psnr(*self._pair(record)))


@METRIC_REGISTRY.register(name='ssim_best_shift')
class SSIMBestShift(_BestShift):
    """3-D SSIM of the rounded output at the integer shift with the best PSNR, as ``calculate_ssim_best_shift``.

    Args:
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
    """

    name: ClassVar[str] = 'ssim_best_shift'
    decimals: ClassVar[int] = 3

    @property
    def variant(self) -> str:
        """Name with the largest shift."""
        return f'SSIM 3-D, best shift of ±{self.max_shift}'

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth."""
        return Score(calculate_ssim(*self._pair(record), device=record.device))


@METRIC_REGISTRY.register(name='kernel_similarity')
class KernelSimilarity(Metric):
    """Largest normalised cross-correlation of the estimated and the true blur kernel, as
    ``calculate_kernel_similarity``.

    The network must find a kernel, and the data set must have the true one.
    """

    name: ClassVar[str] = 'kernel_similarity'
    decimals: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ('kernel', 'true_kernel')
    scores_input: ClassVar[bool] = False
    variant = 'kernel similarity'

    def score(self, record: Record) -> Score:
        """Compare the kernels; 0 for an estimate of zeros."""
        estimate, true = record.array('kernel'), record.array('true_kernel')
        return Score(calculate_kernel_similarity(estimate, true) if estimate.any() else 0.0)


def best_windows(output: Array, gt: Array, max_shift: int, crop_border: int) -> tuple[Array, Array]:
    """Return the window of the output at its best shift, and the ground truth without its border.

    Args:
        output: (H, W, C).
        gt: of the same shape.
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
    """
    return _windows(output, gt, _find(output, gt, max_shift, crop_border), crop_border)


def _require_room(max_shift: Any, crop_border: Any) -> None:
    if type(max_shift) is not int or max_shift < 0:
        raise MetricError(f'max_shift is {max_shift!r}; it must be an integer, at least 0')
    if type(crop_border) is not int or crop_border < max_shift:
        raise MetricError(f'crop_border is {crop_border!r}; it must be an integer, at least max_shift ({max_shift})')


def _windows(output: Array, gt: Array, shift: Shift, border: int) -> tuple[Array, Array]:
    """Return the ground truth without its border, and the window of the output that belongs to it."""
    target = crop(gt, border)
    top, left = border + shift[0], border + shift[1]
    return output[top : top + target.shape[0], left : left + target.shape[1]], target


def _find(output: Array, gt: Array, max_shift: int, border: int) -> Shift:
    _require_room(max_shift, border)
    target = crop(gt, border)
    if max_shift == 0:
        return 0, 0
    mean = target.mean(dtype=np.float64)  # without it, the sums are smaller and so are their rounding errors
    reach = crop(output, border - max_shift) - mean
    target = target - mean
    squares = _window_sums(np.square(reach).sum(axis=2), target.shape)
    errors = squares + np.square(target).sum() - 2 * _products(reach, target)
    tolerance = _ROUNDING * float(squares.max() + np.square(target).sum())
    near = np.argwhere(errors <= errors.min() + tolerance) - max_shift
    shifts = sorted(((int(row), int(column)) for row, column in near), key=lambda shift: np.hypot(*shift))
    if len(shifts) == 1:
        return shifts[0]
    return min(shifts, key=lambda shift: mean_squared_error(*_windows(output, gt, shift, border)))


def _window_sums(values: Array, shape: tuple[int, ...]) -> Array:
    """Return the sums over all windows of a size, from an integral image."""
    integral = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    rows, columns = shape[:2]
    bands = integral[rows:] - integral[:-rows]
    return np.asarray(bands[:, columns:] - bands[:, :-columns])


def _products(reach: Array, target: Array) -> Array:
    """Return the sums of products of an image with all windows (H, W, C) of a larger one."""
    size = [next_fast_len(side, real=True) for side in reach.shape[:2]]
    spectrum = sum(
        rfft2(reach[..., channel], s=size) * rfft2(target[..., channel], s=size).conj()
        for channel in range(target.shape[2])
    )
    rows, columns = (large - small + 1 for large, small in zip(reach.shape[:2], target.shape[:2], strict=True))
    return np.asarray(irfft2(spectrum, s=size)[:rows, :columns])
