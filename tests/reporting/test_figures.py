"""The cumulative histogram of the error ratio, and the ratio itself on images worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from basicsr.deconvolution.functions import deconvolve
from basicsr.metrics import Record, build_metric, calculate_psnr_best_shift
from basicsr.metrics.error_ratio import error_ratio
from basicsr.reporting import definition_of, write_gallery, write_report, write_summary
from basicsr.reporting.figures import cumulative_points, figures_of
from basicsr.reporting.report import ImageRow, Report
from basicsr.utils.errors import MetricError
from tests.helpers.reports import FACTS
from tests.helpers.scenes import scene

pytestmark = pytest.mark.numeric


def images(*offsets: int) -> list[np.ndarray]:
    """The image with these gray levels added, far from black and white."""
    image = 60 + scene(60, 70) // 2
    return [(image.astype(np.int64) + offset).astype(np.uint8) for offset in offsets]


def test_a_ratio_of_squared_errors():
    gt, output, reference = images(0, 6, 2)
    assert error_ratio(output, reference, gt) == pytest.approx(9.0)
    assert error_ratio(reference, output, gt) == pytest.approx(1 / 9)
    assert error_ratio(gt, gt, gt) == 1 and error_ratio(output, gt, gt) == np.inf and error_ratio(gt, output, gt) == 0


def test_both_are_compared_at_their_own_best_shift():
    gt, output, reference = images(0, 6, 2)
    moved = np.roll(output, (3, -2), (0, 1)), np.roll(reference, (-1, 4), (0, 1))
    assert error_ratio(*moved, gt) == pytest.approx(9.0)
    with pytest.raises(MetricError, match='reference: '):
        error_ratio(output, reference[:-1], gt)


def test_the_metric_deconvolves_with_the_true_kernel():
    kernel = np.zeros((5, 5), np.float32)
    kernel[2], kernel[1:4, 2] = 0.15, 0.15
    kernel /= kernel.sum()
    gt, lq = images(0, 3)
    metric = build_metric({'type': 'error_ratio'})
    score = metric(Record(output_uint8=lq, gt=gt, lq=lq, true_kernel=kernel))
    reference = deconvolve(lq, kernel)
    decibels = calculate_psnr_best_shift(reference, gt) - calculate_psnr_best_shift(lq, gt)
    assert score.value == pytest.approx(10 ** (decibels / 10), rel=1e-6)
    gray = Record(output_uint8=lq[..., :1], gt=gt[..., :1], lq=lq[..., :1], true_kernel=kernel)
    assert metric(gray).value > 0
    with pytest.raises(MetricError, match="error_ratio reads 'true_kernel'"):
        metric(Record(output_uint8=lq, gt=gt, lq=lq))


def test_kernel_similarity_of_a_record():
    kernel = np.zeros((7, 7), np.float32)
    kernel[3, 2:5] = [1, 2, 1]
    metric = build_metric({'type': 'kernel_similarity'})
    moved = np.roll(kernel, 2, 0)
    assert metric(Record(kernel=moved, true_kernel=kernel)).value == pytest.approx(1)
    point = np.zeros((5, 5), np.float32)
    point[0, 0] = 1
    # the best overlap of a point is the largest value, 2, over the norm of (1, 2, 1)
    assert metric(Record(kernel=point, true_kernel=kernel)).value == pytest.approx(2 / np.sqrt(6))
    assert metric(Record(kernel=point * 0, true_kernel=kernel)).value == 0


def test_corners_of_the_histogram():
    x, y = cumulative_points([1.0, 2.5, float('inf'), 2.5, float('nan')], 4.0)
    assert x == [0, 1, 1, 2.5, 2.5, 2.5, 2.5, 4.0]
    assert y == [0, 0, 25, 25, 50, 50, 75, 75]


def test_reports_and_galleries_have_the_figure(tmp_path):
    metric = build_metric({'type': 'error_ratio'})
    rows = tuple(ImageRow(n, f'im{n}', 9, 9, {'ratio': float(n)}, {'ratio': 9.0}) for n in range(5))
    report = Report(FACTS, 'Levin & co', (definition_of('ratio', metric),), rows)
    write_report(tmp_path, report)
    write_summary(tmp_path, [report])
    page = write_gallery(tmp_path, [report]).read_text(encoding='utf-8')
    (figure,) = tmp_path.glob('*_ratio.svg')
    assert ElementTree.fromstring(figure.read_text(encoding='utf-8')).tag.endswith('svg')
    assert figure.name in (tmp_path / 'summary.md').read_text(encoding='utf-8')
    assert '<svg' in page and 'Levin &amp; co: error ratio' in page
    second = replace(report, facts=replace(FACTS, run='other'))
    assert figures_of({'first': report, 'second': second})['ratio'].count('stroke-width="2"') == 4
    assert figures_of({'none': replace(report, rows=())}) == {}
