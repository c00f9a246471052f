"""The scores of RSS-T's evaluation: not clipped, not rounded, on the image and on thirds of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from basicsr.metrics import Record, build_metric
from basicsr.utils.errors import MetricError

pytestmark = pytest.mark.numeric

THIRDS = {'all': '', 'top': '_T', 'middle': '_M', 'bottom': '_B'}


@pytest.mark.vectors
@pytest.mark.parametrize('rows', THIRDS)
def test_scores_of_the_original(vector, rows):
    case = vector('rsst', 'metrics')
    for index in range(2):
        gt, output = (case[f'in/{key}'][index].transpose(1, 2, 0) for key in ('label', 'pred'))
        record = Record(output=output, gt=gt)
        psnr, ssim = (float(case[f'out/{name}{THIRDS[rows]}{index}']) for name in ('psnr', 'ssim'))
        assert build_metric({'type': 'psnr_rsst', 'rows': rows})(record).value == pytest.approx(psnr, abs=1e-3)
        assert build_metric({'type': 'ssim_rsst', 'rows': rows})(record).value == pytest.approx(ssim, abs=5e-5)
        if rows == 'all':  # the common definition clips first, and is another number
            assert abs(build_metric({'type': 'psnr_float'})(record).value - psnr) > 1e-3


def test_variants_and_what_has_no_thirds():
    metric = build_metric({'type': 'psnr_rsst', 'rows': 'top'})
    assert metric.variant == 'PSNR not clipped, top third'
    image = np.zeros((2, 9, 3), np.float32)
    with pytest.raises(MetricError, match='2 rows'):
        metric(Record(output=image, gt=image))
    gray = np.full((4, 4, 3), 51, np.uint8)
    score = build_metric({'type': 'psnr_rsst'})(Record(output=gray.astype(np.float32) / 255, gt=gray))
    assert score.value > 120
