"""Mode collapse rate: the share of outputs much worse than the blurred input (SAM-Deblur, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from basicsr.metrics.arrays import DataRange, ImageLike, InputOrder, to_hwc
from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.psnr import calculate_psnr
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY

COLLAPSED = 'collapsed'
"""The mark on the score of a collapsed output."""


def is_collapsed(psnr_lq: float, psnr_output: float, threshold: float = 3.0) -> bool:
    """Return whether deblurring lost more than ``threshold`` dB on this image.

    A perfect output (infinite PSNR) is never collapsed; a perfect input with an imperfect output always is.

    Args:
        psnr_lq: PSNR of the blurred input against the ground truth, dB.
        psnr_output: PSNR of the output against the ground truth, dB.
        threshold: dB; a loss of exactly this value is not a collapse.

    Raises:
        MetricError: a PSNR is NaN.

    Example:
        >>> is_collapsed(30.0, 26.9), is_collapsed(28.0, 25.0)
        (True, False)
    """
    if math.isnan(psnr_lq) or math.isnan(psnr_output):
        raise MetricError(f'cannot detect a mode collapse: the PSNR is NaN (lq: {psnr_lq}, output: {psnr_output})')
    if psnr_output == math.inf:
        return False
    return psnr_lq - psnr_output > threshold


def mode_collapse_rate(psnr_lq: Sequence[float], psnr_output: Sequence[float], threshold: float = 3.0) -> float:
    """Return the share of collapsed images in percent.

    Args:
        psnr_lq: PSNR of each blurred input, dB.
        psnr_output: PSNR of each output, dB, in the same order.
        threshold: dB, see ``is_collapsed``.

    Raises:
        MetricError: no images, different numbers of images, or NaN.

    Example:
        >>> mode_collapse_rate([30.0, 28.0], [26.9, 25.0])
        50.0
    """
    if len(psnr_lq) != len(psnr_output) or len(psnr_lq) == 0:
        raise MetricError(
            f'MCR needs one PSNR of lq and one of the output per image; got {len(psnr_lq)} and {len(psnr_output)}'
        )
    collapsed = [is_collapsed(float(a), float(b), threshold) for a, b in zip(psnr_lq, psnr_output, strict=True)]
    return 100.0 * sum(collapsed) / len(collapsed)


@METRIC_REGISTRY.register()
def calculate_mcr(
    img: ImageLike,
    img2: ImageLike,
    lq: ImageLike,
    crop_border: int = 0,
    input_order: InputOrder = 'HWC',
    threshold: float = 3.0,
    data_range: DataRange = None,
) -> float:
    """Return 100.0 if one image collapsed, else 0.0; the mean over images is the MCR in percent.

    Args:
        img: output; array (H, W, C), (H, W), or (C, H, W) with ``input_order='CHW'``; tensor (C, H, W), (1, C, H, W).
        img2: ground truth of the same size and dtype.
        lq: blurred input of the same size and dtype; channels beyond those of ``img2`` (the mask of the CAT
            method) are ignored.
        crop_border: number of pixels to crop on each side.
        input_order: 'HWC' or 'CHW', for three-dimensional arrays.
        threshold: dB; larger losses are collapses.
        data_range: a number, None (from the dtype) or 'guess' (rule of the original code), for both PSNRs.

    Raises:
        MetricError: as in ``calculate_psnr``, for the output or the blurred input.
    """
    psnr_output = calculate_psnr(img, img2, crop_border, input_order, data_range=data_range)
    gt = to_hwc(img2, input_order)
    blurred = to_hwc(lq, input_order, 'the blurred input (lq)')[..., : gt.shape[2]]
    try:
        psnr_lq = calculate_psnr(blurred, gt, crop_border, data_range=data_range)
    except MetricError as error:
        raise MetricError(f'with the blurred input (lq) as first image: {error}') from error
    return 100.0 if is_collapsed(psnr_lq, psnr_output, threshold) else 0.0


@METRIC_REGISTRY.register(name='mcr')
class MCR(Metric):
    """Mode collapse rate on rounded images; its mean over images is the percentage of the paper's tables.

    Args:
        threshold: loss of PSNR against the input, in dB, above which an output counts as collapsed.
        crop_border: number of pixels to crop on each side.
        data_range: a number; None uses the dtype, 'guess' the rule of the original.
    """

    name: ClassVar[str] = 'mcr'
    unit: ClassVar[str] = '%'
    decimals: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt', 'lq')
    possible_marks: ClassVar[tuple[str, ...]] = (COLLAPSED,)

    def __init__(self, threshold: float = 3.0, crop_border: int = 0, data_range: DataRange = None) -> None:
        self.threshold = threshold
        self.crop_border = crop_border
        self.data_range: DataRange = data_range

    @property
    def variant(self) -> str:
        """Name with the threshold."""
        return f'MCR, loss > {self.threshold:g} dB'

    def score(self, record: Record) -> Score:
        """Return 100 if the output is collapsed, else 0."""
        images = [record.array(name) for name in self.reads]
        value = calculate_mcr(*images, self.crop_border, threshold=self.threshold, data_range=self.data_range)
        return Score(value, (COLLAPSED,) if value else ())
