"""The SSIM variants under their names in option files."""

from __future__ import annotations

from typing import Any, ClassVar

from basicsr.metrics.arrays import DataRange, image_pair, require_window
from basicsr.metrics.metric import Metric, Score, pair_of, require_rounded_luma
from basicsr.metrics.record import Record
from basicsr.metrics.ssim import LumaBorder, calculate_ssim
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register(name='ssim')
class SSIM(Metric):
    """SSIM on the rounded image, as ``calculate_ssim``: by default the 3-D variant of the published tables.

    Args:
        crop_border: number of pixels to crop on each side.
        test_y_channel: score the luma instead of RGB.
        ssim3d: use the 3-D window; false uses the 2-D window.
        data_range: a number; None uses the dtype, 'guess' the rule of the original.
        luma_border: border of luma images: 'reference' (replicated) or 'valid' (cropped).
        rounded: score the rounded image; false scores the output before rounding, clamped to [0, 1]. The default
            follows ``val.use_image``.
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
        """Name with window and channels."""
        if self.test_y_channel:
            return f'SSIM luma, {self.luma_border} border'
        return ('SSIM 3-D' if self.ssim3d else 'SSIM 2-D') + ('' if self._rounded else ' before rounding')

    @property
    def reads_floats(self) -> bool:
        """Whether it scores the output before rounding."""
        return not self._rounded

    def score(self, record: Record) -> Score:
        """Score the output against the ground truth."""
        pair = pair_of(record, self._rounded, self.data_range, self.test_y_channel)
        how = {key: value for key, value in vars(self).items() if key != '_rounded'}
        return Score(calculate_ssim(*pair, **how, device=record.device))


@METRIC_REGISTRY.register(name='ssim_2d')
class SSIM2D(SSIM):
    """SSIM per channel with an 11 x 11 window inside the image (the code of Wang et al. on colors).

    Args:
        crop_border: number of pixels to crop on each side.
        data_range: a number; None uses the dtype, 'guess' the rule of the original.
        rounded: score the rounded image; false scores the output before rounding, clamped to [0, 1]. The default
            follows ``val.use_image``.
    """

    name: ClassVar[str] = 'ssim_2d'

    def __init__(self, crop_border: int = 0, data_range: DataRange = None, rounded: bool = True) -> None:
        super().__init__(crop_border=crop_border, ssim3d=False, data_range=data_range, rounded=rounded)


@METRIC_REGISTRY.register(name='ssim_y')
class SSIMLuma(SSIM):
    """SSIM of the luma of 8-bit images.

    Args:
        crop_border: number of pixels to crop on each side.
        luma_border: border: 'reference' (replicated, as in SAM-Deblur) or 'valid' (cropped, as in BasicSR).
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

    7 x 7 uniform window, sample covariance, per channel, data range 1.

    Args:
        crop_border: number of pixels to crop on each side.
    """

    name: ClassVar[str] = 'ssim_skimage'
    variant = 'SSIM scikit-image 7x7'
    decimals: ClassVar[int] = 3
    reads: ClassVar[tuple[str, ...]] = ('output', 'gt')

    def __init__(self, crop_border: int = 0) -> None:
        self.crop_border = crop_border

    def score(self, record: Record) -> Score:
        """Score the float output against the ground truth divided by its range."""
        import skimage.metrics

        output, gt = image_pair(*pair_of(record, rounded=False), self.crop_border, 'HWC')
        require_window(output, self.name, taps=7)
        structural_similarity: Any = skimage.metrics.structural_similarity  # untyped
        return Score(float(structural_similarity(gt, output, channel_axis=2, data_range=1.0)))
