"""Curves of a training beside the report of its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from basicsr.reporting import write_gallery
from basicsr.reporting.training_curves import read_training, training_charts, training_of, write_training_charts
from basicsr.training.loggers import RunLog
from basicsr.utils.errors import ReportError
from tests.helpers.reports import FACTS, report


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """The folder of a training of 1000 steps, as the training logs them."""
    folder = tmp_path / 'experiments' / 'x'
    with RunLog(folder, 'x', 1000) as log:
        for step in range(1, 1001):
            log.step(step, 0, {'l_pix': 1 / step, 'l_percep': float('nan')}, 1e-3, 0.5, 0.1, 0.0)
        for step in (500, 1000):
            log.scores(step, 'GoPro-val', {'psnr': 20 + step / 500})
    return folder


def test_the_log_of_a_training_is_read_and_thinned(experiment):
    curves = read_training(experiment / 'log/x.jsonl')
    assert set(curves.losses) == {'l_pix', 'l_percep'} and len(curves.losses['l_pix']) == 1000
    assert curves.scores == {'GoPro-val: psnr': {500: 21.0, 1000: 22.0}}
    charts = training_charts({'x': curves, 'none': type(curves)()})
    assert set(charts) == {'training_l_pix', 'validation_GoPro-val_psnr'}  # nothing finite in the other one
    line = next(part for part in charts['training_l_pix'].splitlines() if part.count('L') > 50)
    assert line.count('L') == 199


def test_curves_stand_beside_the_report_and_in_the_gallery(experiment, tmp_path):
    done = report([30.0, 29.0], replace(FACTS, checkpoint=str(experiment / 'models/net_g_latest.pth')))
    names = [path.name for path in write_training_charts(tmp_path, done)]
    assert names == ['training_l_pix.svg', 'validation_GoPro-val_psnr.svg']
    assert write_gallery(tmp_path, [done]).read_text().count('<svg') == 2
    for checkpoint in ('', 'net.pth', str(tmp_path / 'gone/models/net.pth')):
        other = replace(done, facts=replace(FACTS, checkpoint=checkpoint))
        assert write_training_charts(tmp_path, other) == []


def test_a_damaged_log_is_named_and_does_not_stop_a_report(experiment, caplog):
    path = experiment / 'log/x.jsonl'
    whole = path.read_text()
    path.write_text(whole + '{"iter": 10')  # a training that is still running
    assert len(read_training(path).losses['l_pix']) == 1000
    path.write_text(json.dumps(['no object']) + '\n' + whole)
    with pytest.raises(ReportError, match=r'x\.jsonl, line 1'):
        read_training(path)
    done = report([30.0], replace(FACTS, checkpoint=str(experiment / 'models/net_g_latest.pth')))
    assert not training_of(done).losses
    assert 'line 1' in caplog.text
