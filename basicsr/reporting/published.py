"""Published scores of the paper (arXiv 2309.02270, table 1): width 32, trained on GoPro. They are not measured here."""

from __future__ import annotations

from collections.abc import Mapping

from basicsr.reporting.report import MCR

SETS = ('GoPro', 'RealBlurJ', 'REDS', 'ReLoBlur')
METHODS = {'NAFNet': 'w/o SAM', 'CAT': 'CAT', 'MAP': 'MAP', 'SAMDeblur': 'Ours'}
"""Our names of the methods, and the names in the paper."""

_TABLE = {  # PSNR, 3-D SSIM, MCR in percent
    'NAFNet': ((32.85, 0.960, None), (26.57, 0.866, 0.20), (25.97, 0.844, 3.80), (25.26, 0.687, 54.68)),
    'CAT': ((32.88, 0.961, None), (26.55, 0.863, 0.31), (26.65, 0.865, 2.57), (29.77, 0.882, 58.73)),
    'MAP': ((32.82, 0.960, None), (26.57, 0.866, 0.31), (26.81, 0.865, 0.40), (30.86, 0.897, 55.44)),
    'SAMDeblur': ((32.83, 0.960, None), (26.62, 0.867, 0.00), (26.93, 0.868, 0.20), (32.29, 0.903, 13.92)),
}


def published_scores(method: str, dataset: str) -> Mapping[str, float]:
    """Return the published scores of a method on a data set by label (psnr, ssim, mcr).

    Args:
        method: one of ``METHODS``.
        dataset: one of ``SETS``.

    Example:
        >>> published_scores('SAMDeblur', 'REDS')
        {'psnr': 26.93, 'ssim': 0.868, 'mcr': 0.2}
    """
    values = _TABLE[method][SETS.index(dataset)]
    return {label: value for label, value in zip(('psnr', 'ssim', MCR), values, strict=True) if value is not None}
