"""The error ratio of Levin et al.: how much worse a result is than deconvolution with the true kernel."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from basicsr.images.arrays import Array
from basicsr.metrics.arrays import image_pair
from basicsr.metrics.best_shift import best_windows
from basicsr.metrics.metric import Metric, Score
from basicsr.metrics.psnr import mean_squared_error
from basicsr.metrics.record import Record
from basicsr.utils.errors import MetricError
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register(name='error_ratio')
class ErrorRatio(Metric):
    """Squared error of the rounded output over that of the blurred input deconvolved with its true kernel, both over
    their best shift; 1 is as good as the true kernel.

    Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR 2009, section 4. They deconvolve
    with a sparse prior; here it is :func:`basicsr.deconvolution.functions.deconvolve` (Krishnan and Fergus, NIPS 2009).
    They call a ratio of up to 3 a success. The data set must have kernels, and blurred images of three or one channels.

    Args:
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.
    """

    name: ClassVar[str] = 'error_ratio'
    decimals: ClassVar[int] = 2
    higher_is_better: ClassVar[bool] = False
    cumulative: ClassVar[bool] = True
    reads: ClassVar[tuple[str, ...]] = ('output_uint8', 'gt', 'lq', 'true_kernel')
    variant = 'error ratio'

    def __init__(self, max_shift: int = 6, crop_border: int = 15) -> None:
        self.max_shift, self.crop_border = max_shift, crop_border

    def score(self, record: Record) -> Score:
        """Compare the output, and the input deconvolved with its true kernel, with the ground truth."""
        from basicsr.deconvolution.functions import deconvolve  # slow to import

        lq, gt = record.array('lq'), record.array('gt')
        image = lq[..., 0] if lq.shape[2] == 1 else lq
        reference = deconvolve(image, record.array('true_kernel')).reshape(lq.shape)
        return Score(error_ratio(record.array('output_uint8'), reference, gt, self.max_shift, self.crop_border))


def error_ratio(output: Array, reference: Array, gt: Array, max_shift: int = 6, crop_border: int = 15) -> float:
    """Return the squared error of an output over that of a reference, both over their best integer shift.

    Args:
        output: (H, W, C) integers.
        reference: the result with the true kernel, of the same shape and type.
        gt: of the same shape and type.
        max_shift: largest shift in pixels along rows and columns.
        crop_border: number of pixels of the ground truth to crop on each side, at least ``max_shift``.

    Returns:
        at least 0; infinity if only the reference is perfect, 1 if both are.

    Raises:
        MetricError: shapes or types differ, or the border removes all pixels.
    """
    errors = []
    for name, image in (('output', output), ('reference', reference)):
        try:
            pair = image_pair(image, gt, 0, 'HWC')
        except MetricError as error:
            raise MetricError(f'{name}: {error}') from error
        errors.append(float(mean_squared_error(*best_windows(*pair, max_shift, crop_border))))
    if errors[1] == 0:
        return 1.0 if errors[0] == 0 else float(np.inf)
    return errors[0] / errors[1]
