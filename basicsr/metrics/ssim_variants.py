"""The SSIM variants under the names that an option file uses."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from basicsr.metrics.arrays import DataRange, image_pair, require_window, swap_red_and_blue, unit_float
from basicsr.metrics.metric import Metric, Score, pair_of, require_rounded_luma
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import LumaBorder, calculate_ssim
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register(name='ssim')
class SSIM(Metric):
    """SSIM on the rounded image, as ``calculate_ssim``: by default the 3-D variant of the published tables.

    Args:
        crop_border: pixels left out on each side.
        test_y_channel: score the luma (the record is RGB; the order is taken care of).
        ssim3d: 3-D window; otherwise 2-D.
        data_range: a number, None (from the dtype) or 'guess' (the original's rule).
        luma_border: 'reference' (replicated) or 'valid' (left out), for luma.
        rounded: score the rounded image; otherwise the output as the network returns it, clamped to [0, 1]. By default
            what ``val.use_image`` says.
    """

    name: ClassVar[str] = 'ssim'
    decimals: ClassVar[int] = 3

    def __init__(
        self,
        crop_border: int = 0,
        test_y_channel: bool = False,
        ssim3d: bool = True,
        data_range: DataRange = None,
        luma_border: LumaBorder = 'reference',
        rounded: bool = True,
    ) -> None:
        require_rounded_luma(test_y_channel, rounded)
        self._rounded = rounded
        self.crop_border = crop_border
        self.test_y_channel = test_y_channel
        self.ssim3d = ssim3d
        self.data_range: DataRange = data_range
        self.luma_border: LumaBorder = luma_border

    @property
    def variant(self) -> str:
        """Window and channels."""
        if self.test_y_channel:
            return f'SSIM luma, {self.luma_border} border'
        return ('SSIM 3-D' if self.ssim3d else 'SSIM 2-D') + ('' if self._rounded else ' before rounding')

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth.

        Args:
            record: one image.
        """
        first, second = pair_of(record, self._rounded, self.data_range)
        if self.test_y_channel:
            first, second = swap_red_and_blue(first), swap_red_and_blue(second)
        value = calculate_ssim(
            first,
            second,
            crop_border=self.crop_border,
            test_y_channel=self.test_y_channel,
            ssim3d=self.ssim3d,
            data_range=self.data_range,
            luma_border=self.luma_border,
        )
        return Score(value)


@METRIC_REGISTRY.register(name='ssim_2d')
class SSIM2D(SSIM):
    """SSIM channel by channel with an 11 x 11 window inside the image (the code of Wang et al. on colours).

    Args:
        crop_border: pixels left out on each side.
        data_range: a number, None (from the dtype) or 'guess' (the original's rule).
        rounded: score the rounded image; otherwise the output as the network returns it, clamped to [0, 1]. By default
            what ``val.use_image`` says.
    """

    name: ClassVar[str] = 'ssim_2d'

    def __init__(self, crop_border: int = 0, data_range: DataRange = None, rounded: bool = True) -> None:
        super().__init__(crop_border=crop_border, ssim3d=False, data_range=data_range, rounded=rounded)


@METRIC_REGISTRY.register(name='ssim_y')
class SSIMLuma(SSIM):
    """SSIM of the luma of 8-bit images.

    Args:
        crop_border: pixels left out on each side.
        luma_border: 'reference' (replicated, the SAM-Deblur code) or 'valid' (left out, BasicSR).
        data_range: a number; None and 'guess' mean 255.
    """

    name: ClassVar[str] = 'ssim_y'

    def __init__(
        self, crop_border: int = 0, luma_border: LumaBorder = 'reference', data_range: DataRange = None
    ) -> None:
        super().__init__(crop_border, test_y_channel=True, data_range=data_range, luma_border=luma_border)


@METRIC_REGISTRY.register(name='ssim_skimage')
class SSIMSkimage(Metric):
    """SSIM with the defaults of scikit-image on the clamped output before rounding (LaKDNet's evaluation).

    7 x 7 uniform window, sample covariance, channel by channel, data range 1.

    Args:
        crop_border: pixels left out on each side.
    """

    name: ClassVar[str] = 'ssim_skimage'
    decimals: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, crop_border: int = 0) -> None:
        self.crop_border = crop_border

    @property
    def variant(self) -> str:
        """Whose defaults these are."""
        return 'SSIM scikit-image 7x7'

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range.

        Args:
            record: one image.
        """
        import skimage.metrics

        output = np.clip(unit_float(record.array('output'), "the record's output"), 0, 1)
        output, gt = image_pair(output, unit_float(record.array('gt'), "the record's gt"), self.crop_border, 'HWC')
        require_window(output, self.name, taps=7)
        structural_similarity: Any = skimage.metrics.structural_similarity  # carries no types
        return Score(float(structural_similarity(gt, output, channel_axis=2, data_range=1.0)))
