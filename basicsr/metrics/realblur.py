"""PSNR and SSIM after alignment, the protocol of RealBlur (Rim et al. 2020) used by MPRNet, Restormer and later tables.

RealBlur captures blurred and sharp images with two cameras behind a beam splitter. Small shifts and brightness
differences between them would dominate the score. Therefore, the output is scaled and warped onto the ground truth.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import FIRST, SECOND, crop, image_pair, require_window, unit_float
from basicsr.metrics.metric import INFINITE, DecibelMetric, Metric, Score, decibels
from basicsr.metrics.psnr import psnr_of_error
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import HALO, ssim_map
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

NOT_ALIGNED = 'not_aligned'
ITERATIONS = 100
ECC_FILTER_SIZE = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Alignment:
    """An output aligned with its ground truth.

    Args:
        output: float32 (H, W, C), scaled, warped and masked; unchanged if not converged.
        gt: float32 (H, W, C), masked.
        mask: float32 (H, W, C), 1 where the warped output is known, else 0.
        converged: whether the alignment succeeded.
    """

    output: Array
    gt: Array
    mask: Array
    converged: bool


def align(output: Array, gt: Array) -> Alignment:
    """Scale the output by one gain and warp it onto the ground truth by a homography.

    The gain minimizes the squared error; the homography maximizes the enhanced correlation coefficient of the gray
    images (OpenCV, 100 iterations from the identity, Gaussian filter of size 5). If the alignment fails, for example
    on a black or collapsed output, both images stay unchanged and ``converged`` is False.

    Args:
        output: (H, W, 3) or (H, W, 1) RGB, float in [0, 1].
        gt: ground truth, same shape.

    Raises:
        MetricError: shapes differ, NaN, other channel counts, or values outside of [0, 1].
    """
    output, gt = _checked(output, gt)
    identity = Alignment(output, gt, np.ones_like(gt), converged=False)
    energy = float(np.sum(np.square(output, dtype=np.float64)))
    if energy == 0:
        return identity
    gain = float(np.sum(np.multiply(gt, output, dtype=np.float64))) / energy
    scaled = (output * gain).astype(np.float32)
    homography = _find_homography(_gray(gt), _gray(scaled))
    if homography is None:
        return identity
    warped = _warp(scaled, homography, cv2.INTER_CUBIC, cv2.BORDER_REFLECT)
    mask = _warp(np.ones_like(scaled), homography, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
    if min(mask.shape[:2]) <= 2 * HALO or crop(mask, HALO).sum() == 0:
        return identity  # warped out of the image
    return Alignment(warped * mask, gt * mask, mask, converged=True)


def psnr_realblur(output: Array, gt: Array, alignment: Alignment | None = None) -> float:
    """Return the PSNR in dB after alignment, over the pixels covered by the warped output.

    Args:
        output: (H, W, 3) RGB, float in [0, 1], read from an 8-bit file.
        gt: ground truth, same shape.
        alignment: result of ``align(output, gt)``, if already computed.

    Returns:
        dB; if the alignment fails, of the unaligned images, with a logged warning.

    Raises:
        MetricError: see ``align``.
    """
    pair = alignment or _align_or_warn(output, gt)
    squared_error = float(np.sum(np.square(np.subtract(pair.output, pair.gt, dtype=np.float64))))
    return psnr_of_error(squared_error / float(pair.mask.sum(dtype=np.float64)), 1.0)


def ssim_realblur(output: Array, gt: Array, alignment: Alignment | None = None) -> float:
    """Return the SSIM after alignment: 2-D Gaussian window, range 1, 5 pixels cropped, mask as weights, per channel.

    Args:
        output: (H, W, 3) RGB, float in [0, 1], read from an 8-bit file.
        gt: ground truth, same shape.
        alignment: result of ``align(output, gt)``, if already computed.

    Returns:
        SSIM; if the alignment fails, of the unaligned images, with a logged warning.

    Raises:
        MetricError: see ``align``; or a side is shorter than 11 pixels.
    """
    pair = alignment or _align_or_warn(output, gt)
    require_window(pair.gt, 'ssim_realblur')
    similarity = ssim_map(pair.output, pair.gt, 1.0, volume=False)
    weights = crop(pair.mask, HALO).astype(np.float64)
    of_channel = (crop(similarity, HALO) * weights).sum(axis=(0, 1)) / weights.sum(axis=(0, 1))
    return float(of_channel.mean())


def _checked(output: Array, gt: Array) -> tuple[Array, Array]:
    output, gt = image_pair(output, gt, 0, 'HWC')
    if output.shape[2] not in (1, 3):
        raise MetricError(f'alignment needs 1 or 3 channels, the images have {output.shape[2]}')
    for name, image in ((FIRST, output), (SECOND, gt)):
        if image.dtype.kind != 'f' or image.max() > 2:
            raise MetricError(f'{name} must be float in [0, 1]; divide 8-bit images by 255')
    return output.astype(np.float32), gt.astype(np.float32)


def _gray(image: Array) -> Array:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0])


def _find_homography(template: Array, image: Array) -> Array | None:
    """Return the 3 x 3 warp from template to image coordinates, or None if the search does not converge."""
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0.0)
    start = np.eye(3, dtype=np.float32)
    everywhere = np.full(template.shape, 255, np.uint8)  # the same as no mask, which OpenCV's type stubs do not allow
    try:
        _, found = cv2.findTransformECC(
            template, image, start, cv2.MOTION_HOMOGRAPHY, criteria, everywhere, ECC_FILTER_SIZE
        )
    except cv2.error as error:
        logger.debug('alignment failed: %s', error)
        return None
    homography = np.asarray(found)
    return homography if np.isfinite(homography).all() else None


def _warp(image: Array, homography: Array, interpolation: int, border: int) -> Array:
    height, width = image.shape[:2]
    flags = interpolation | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, homography, (width, height), flags=flags, borderMode=border, borderValue=0)
    return np.asarray(warped).reshape(image.shape)


def _align_or_warn(output: Array, gt: Array) -> Alignment:
    alignment = align(output, gt)
    if not alignment.converged:
        logger.warning('the alignment did not converge; scoring the images without alignment')
    return alignment


class _RealBlurMetric(Metric):
    """Base class with one alignment per record."""

    possible_marks: ClassVar[tuple[str, ...]] = (INFINITE, NOT_ALIGNED)

    def alignment(self, record: Record) -> Alignment:
        """Return the alignment of the rounded output, computed once for all metrics of a record."""

        def compute() -> Alignment:
            return align(*(unit_float(record.array(name), f"the record's {name}") for name in self.reads))

        return record.cached('realblur alignment', compute)


def _marks(alignment: Alignment) -> tuple[str, ...]:
    return () if alignment.converged else (NOT_ALIGNED,)


@METRIC_REGISTRY.register(name='psnr_realblur')
class PSNRRealBlur(_RealBlurMetric, DecibelMetric):
    """PSNR after RealBlur's alignment; if the alignment fails, the unaligned image is scored and marked."""

    name: ClassVar[str] = 'psnr_realblur'
    variant = 'PSNR aligned (RealBlur)'

    def score(self, record: Record) -> Score:
        """Score the aligned 8-bit output."""
        alignment = self.alignment(record)
        plain = decibels(psnr_realblur(alignment.output, alignment.gt, alignment))
        return Score(plain.value, plain.marks + _marks(alignment))


@METRIC_REGISTRY.register(name='ssim_realblur')
class SSIMRealBlur(_RealBlurMetric):
    """SSIM after RealBlur's alignment; if the alignment fails, the unaligned image is scored and marked."""

    name: ClassVar[str] = 'ssim_realblur'
    variant = 'SSIM aligned (RealBlur)'
    decimals: ClassVar[int] = 3

    def score(self, record: Record) -> Score:
        """Score the aligned 8-bit output."""
        alignment = self.alignment(record)
        return Score(ssim_realblur(alignment.output, alignment.gt, alignment), _marks(alignment))
