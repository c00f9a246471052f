"""The scores of RSS-T's evaluation: not clipped, not rounded, on the image and on thirds of its rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.images.files import tensor2img
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


@pytest.mark.vectors
def test_means_over_a_batch_and_saved_images(vector):
    """The original cuts decimals off when it saves; ours rounds, so half of the samples are one level brighter."""
    case = vector('rsst', 'metrics')
    metric, scores = build_metric({'type': 'ssim_rsst'}), []
    for gt, output in zip(case['in/label'], case['in/pred'], strict=True):
        scores.append(metric(Record(output=output.transpose(1, 2, 0), gt=gt.transpose(1, 2, 0))).value)
    assert np.mean(scores) == pytest.approx(float(case['out/ssim_batch']), abs=5e-5)
    saved = tensor2img(torch.from_numpy(case['in/pred'][:1]), rgb2bgr=False).astype(int)
    brighter = saved - case['out/saved_png_pixels']
    assert set(np.unique(brighter)) == {0, 1}
    cut = np.floor(np.clip(case['in/pred'][0].transpose(1, 2, 0), 0, 1) * np.float32(255))
    assert np.array_equal(cut, case['out/saved_png_pixels'])


def test_variants_and_what_has_no_thirds():
    metric = build_metric({'type': 'psnr_rsst', 'rows': 'top'})
    assert metric.variant == 'PSNR not clipped, top third'
    image = np.zeros((2, 9, 3), np.float32)
    with pytest.raises(MetricError, match='2 rows'):
        metric(Record(output=image, gt=image))
    gray = np.full((4, 4, 3), 51, np.uint8)
    score = build_metric({'type': 'psnr_rsst'})(Record(output=gray.astype(np.float32) / 255, gt=gray))
    assert score.value > 120
