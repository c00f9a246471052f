"""Scores of what a network returns, before it is rounded (``val.use_image: false``), ours and the original's way."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from basicsr.archs import build_network
from basicsr.images.files import imread
from basicsr.masks import read_masks
from basicsr.metrics import Record, build_metric, calculate_ssim
from basicsr.options import load_options
from basicsr.preflight import build_on_paper
from basicsr.reporting import read_report
from basicsr.utils.errors import OptionError
from tests.helpers import training_runs as runs
from tests.helpers.evaluations import NETWORK, write_network, write_pairs

pytestmark = pytest.mark.numeric

evaluate = importlib.import_module('basicsr.test').main


@pytest.fixture
def record():
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, (24, 20, 3), np.uint8)
    output = (gt / 255 + rng.normal(0, 0.01, gt.shape)).astype(np.float32)
    output[0, 0] = 1.2
    return Record(output=output, output_uint8=(output.clip(0, 1) * 255).round().astype(np.uint8), gt=gt)


def test_ours_is_clamped_and_has_range_1(record):
    clamped = record.output.clip(0, 1).astype(np.float64)
    error = np.square(clamped - record.gt / 255).mean()
    metric = build_metric({'type': 'psnr'}, rounded=False)
    assert metric(record).value == pytest.approx(-10 * math.log10(error), abs=1e-9)
    assert metric.variant == 'PSNR before rounding'
    for name, volume in (('ssim', True), ('ssim_2d', False)):
        expected = calculate_ssim(clamped, record.gt / 255, ssim3d=volume)
        metric = build_metric({'type': name}, rounded=False)
        assert metric(record).value == pytest.approx(expected, abs=1e-12)
        assert metric.variant.endswith('before rounding')
        assert metric(record).value != build_metric({'type': name})(record).value


@pytest.mark.parametrize(('highest', 'white'), [(1.2, 255), (1.0, 1)])
def test_the_originals_is_not_clamped_and_guesses_its_range_from_the_output(record, highest, white):
    record.output[0, 0] = highest
    record.output[1:] = record.output[1:].clip(-1, 1)
    record.output[0, 1:] = 0.5
    error = np.square(record.output.astype(np.float64) - record.gt / 255).mean()
    metric = build_metric({'type': 'psnr', 'data_range': 'guess'}, rounded=False)
    assert metric(record).value == pytest.approx(20 * math.log10(white) - 10 * math.log10(error), abs=1e-9)
    expected = calculate_ssim(record.output, record.gt / 255, data_range=float(white))
    metric = build_metric({'type': 'ssim', 'data_range': 'guess'}, rounded=False)
    assert metric(record).value == pytest.approx(expected, abs=1e-9)


def test_a_block_may_say_it_itself_and_others_are_left_alone(record):
    rounded = build_metric({'type': 'psnr'})(record).value
    assert build_metric({'type': 'psnr', 'rounded': True}, rounded=False)(record).value == rounded
    assert build_metric({'type': 'psnr', 'rounded': False})(record).value != rounded
    float_record = Record(output=record.output, output_uint8=record.output_uint8, gt=record.gt, lq=record.gt)
    assert build_metric({'type': 'mcr'}, rounded=False)(float_record) == build_metric({'type': 'mcr'})(float_record)
    assert build_metric({'type': 'ssim_y'}, rounded=False).variant == build_metric({'type': 'ssim_y'}).variant


@pytest.mark.slow
@pytest.mark.parametrize('change', ['use_image', 'rgb2bgr'])
def test_what_has_no_meaning_is_refused_before_anything_runs(tmp_path, change):
    content = runs.options(runs.write_pairs(tmp_path / 'pairs'))
    content['val'][change] = False
    content['val']['metrics'] = {'luma': {'type': 'psnr', 'test_y_channel': True}}
    with pytest.raises(OptionError, match='8 bits' if change == 'use_image' else 'rgb2bgr'):
        build_on_paper(load_options(runs.write_options(tmp_path, content)))


@pytest.mark.parametrize('mode', ['default', 'reference'])
def test_an_evaluation_scores_what_the_network_returns(tmp_path, monkeypatch, mode):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / 'data', ['a', 'b'])
    block = {**NETWORK, 'mask_value': 1.0}
    write_network(tmp_path / 'net.pth', block, residual=0.5)
    roots = {f'dataroot_{k}': f'data/{f}' for k, f in (('gt', 'target'), ('lq', 'input'), ('mask', 'grouped_masks'))}
    options = {
        'mode': mode,
        'name': 'trial',
        'datasets': {'test': {'name': 'noise', 'type': 'PairedImageGroupMaskDataset', **roots}},
        'network_g': block,
        'path': {'pretrain_network_g': 'net.pth'},
        'val': {'use_image': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }
    Path('trial.yml').write_text(yaml.safe_dump(options))
    assert evaluate(['-opt', 'trial.yml']) == 0
    report = read_report(tmp_path / 'results/trial/noise.json')
    net = build_network(block).eval()
    net.load_state_dict(torch.load('net.pth', weights_only=True)['params'])
    for row in report.rows:
        lq, gt = (
            imread(tmp_path / 'data' / kind / f'{row.name}.png') / np.float32(255) for kind in ('input', 'target')
        )
        labels = torch.from_numpy(read_masks(tmp_path / f'data/grouped_masks/{row.name}.png').astype(np.int32))[None]
        with torch.no_grad():
            output = net(torch.from_numpy(lq).permute(2, 0, 1)[None], labels)[0].permute(1, 2, 0).double().numpy()
        assert output.max() > 1
        white = 255 if mode == 'reference' else 1
        output = output if mode == 'reference' else output.clip(0, 1)
        expected = 20 * math.log10(white) - 10 * math.log10(np.square(output - gt).mean())
        assert row.scores['psnr'] == pytest.approx(expected, abs=1e-4)
    assert [item.variant for item in report.definitions][:2] == ['PSNR before rounding', 'SSIM 3-D before rounding']
