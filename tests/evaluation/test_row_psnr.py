"""The PSNR of every row: its numbers, its files, several processes, and charts of several runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from basicsr.evaluation.row_psnr import RowPSNR
from basicsr.evaluation.testing import Evaluation
from basicsr.metrics import Record
from basicsr.metrics.psnr import calculate_psnr, psnr_of_rows
from basicsr.options import load_options
from basicsr.reporting.row_curves import (
    RowCurve,
    chart_of_curves,
    curve_files,
    read_curve,
    table_of_thirds,
    write_curve,
)
from basicsr.training.distributed import Processes, start_processes
from basicsr.utils.errors import MetricError, ReportError
from tests.helpers.evaluations import write_network
from tests.helpers.grr_frames import write
from tests.helpers.project import ROOT, Script

RNG = np.random.default_rng(0)


def images(count=1, size=(6, 20, 3)):
    return [RNG.integers(0, 256, size, dtype=np.uint8) for _ in range(count)]


def test_each_row_is_scored_like_an_image():
    output, gt = images(2)
    expected = [calculate_psnr(output[row : row + 1], gt[row : row + 1], crop_border=0) for row in range(6)]
    np.testing.assert_allclose(psnr_of_rows(output, gt), expected, rtol=1e-6)
    deep = [image.astype(np.uint16) * 257 for image in (output, gt)]
    np.testing.assert_allclose(psnr_of_rows(*deep), expected, rtol=1e-6)


def test_equal_rows_have_the_score_of_rounding():
    (gt,) = images()
    np.testing.assert_allclose(psnr_of_rows(gt, gt), 20 * math.log10(255 * math.sqrt(12)))
    with pytest.raises(MetricError):
        psnr_of_rows(gt[:5], gt)


def test_the_mean_is_over_the_images_that_have_the_row():
    tall, tall_gt, short, short_gt = *images(2), *images(2, (4, 9, 3))
    rows = RowPSNR()
    rows.add(Record(output_uint8=tall, gt=tall_gt, lq=tall_gt))
    rows.add(Record(output_uint8=short, gt=short_gt, lq=short))
    rows.add(Record(output_uint8=short))  # no ground truth
    curve = rows.joined(start_processes('none', 'cpu'))
    assert curve.images.tolist() == [2, 2, 2, 2, 1, 1]
    a, b = psnr_of_rows(tall, tall_gt), psnr_of_rows(short, short_gt)
    np.testing.assert_allclose(curve.output, [*((a[:4] + b) / 2), *a[4:]])
    np.testing.assert_allclose(curve.lq[4:], psnr_of_rows(tall_gt, tall_gt)[4:])


def test_processes_share_the_images(monkeypatch):
    pairs = [images(2), images(2, (4, 9, 3))]
    parts, whole = [RowPSNR(), RowPSNR()], RowPSNR()
    for part, (output, gt) in zip(parts, pairs, strict=True):
        part.add(Record(output_uint8=output, gt=gt, lq=gt))
        whole.add(Record(output_uint8=output, gt=gt, lq=gt))
    alone = start_processes('none', 'cpu')
    expected = whole.joined(alone)
    sums = [torch.from_numpy(np.pad(part._sums, ((0, 0), (0, 6 - part._sums.shape[1])))) for part in parts]
    answers = iter([[torch.tensor([6]), torch.tensor([4])], sums])
    monkeypatch.setattr(Processes, 'gather', lambda self, tensor: next(answers))
    curve = parts[0].joined(alone)
    assert all(np.array_equal(*pair) for pair in zip(vars(curve).values(), vars(expected).values(), strict=True))


def test_files_are_read_back(tmp_path):
    curve = RowCurve(np.array([3, 3, 1]), np.array([30.125, 1 / 3, 28]), np.array([20.0, np.nan, 21]))
    table, chart = write_curve(tmp_path, 'a set', 'run', curve)
    assert (table, chart) == curve_files(tmp_path, 'a set')
    assert chart.read_text().startswith('<svg')
    name, again = read_curve(tmp_path)
    assert name == table.name.removesuffix('_rows.csv')
    for key, value in vars(curve).items():
        np.testing.assert_array_equal(vars(again)[key], value)
    assert read_curve(tmp_path, 'a set')[1].images.tolist() == [3, 3, 1]
    with pytest.raises(ReportError, match=r'there: a_set.*psnr_per_row=true'):
        read_curve(tmp_path, 'other')
    table.write_text(table.read_text().replace('30.125', 'x'))
    with pytest.raises(ReportError, match='damaged'):
        read_curve(tmp_path)


def curve_of(output, lq=20.0, rows=90):
    return RowCurve(np.ones(rows, np.int64), np.full(rows, float(output)), np.full(rows, lq))


def test_charts_and_tables_of_several_runs():
    runs = {'A': [curve_of(30), curve_of(31)], 'B': [curve_of(29)]}
    text = chart_of_curves(runs, 'set')
    assert text.count('<polygon') == 1 and text.count('stroke-linejoin') == 6  # three lines, three in the legend
    table = table_of_thirds(runs)
    assert table.rows == (
        ('blurred input', '20.00', '20.00', '20.00', '20.00'),
        ('A', '30.50', '30.50', '30.50', '30.50'),
        ('B', '29.00', '29.00', '29.00', '29.00'),
    )
    assert 'PSNR of each row, set' in text
    gains = chart_of_curves(runs, 'set', gain=True)
    assert gains.count('<polygon') == 1 and 'Gain in PSNR of each row, set' in gains
    with pytest.raises(ReportError, match='A: the PSNR of the blurred input is unknown'):
        chart_of_curves({'A': [curve_of(30, lq=np.nan)]}, 'set', gain=True)
    with pytest.raises(ReportError, match='B: its blurred images differ from those of A'):
        chart_of_curves({**runs, 'B': [curve_of(29, lq=21.0)]}, 'set')
    with pytest.raises(ReportError, match='B: its blurred'):
        chart_of_curves({**runs, 'B': [curve_of(29, rows=80)]}, 'set')


def test_an_evaluation_writes_them_if_asked(tmp_path, capsys, monkeypatch):
    write(tmp_path / 'test', 'walk', [0, 1], size=(24, 32))
    block = load_options(ROOT / 'options/test/GRR_synth/NAFNet_tiny.yml').network_g.as_dict()
    write_network(tmp_path / 'net.pth', block)
    force = [f'datasets:test:dataroot={tmp_path / "test"}', f'path:pretrain_network_g={tmp_path / "net.pth"}']
    force.append('path:param_key=params')
    for asked in (True, False):
        more = [*force, f'val:psnr_per_row={str(asked).lower()}']
        options = load_options(ROOT / 'options/test/GRR_synth/NAFNet_tiny.yml', more, 'test')
        folder = tmp_path / str(asked)
        (report,) = Evaluation(options, start_processes('none', 'cpu'), folder).run()
        assert curve_files(folder, 'GRR_synth-test')[0].is_file() is asked
    _, curve = read_curve(tmp_path / 'True')
    assert curve.images.tolist() == [2] * 24
    assert abs(curve.output.mean() - report.average('psnr').mean) < 1  # rows differ little in noise
    plot = Script('plot_rows.py', monkeypatch, tmp_path)
    assert plot('A=True', 'B=True,True', '--output', 'out/rows.svg') == 0
    assert 'blurred input' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'rows.svg').read_text().count('<polygon') == 1
    with pytest.raises(SystemExit):
        plot('A')
