"""scripts/check_gpu.py: every check runs on a CPU, on tiny sizes; a wrong number is a failure."""

from __future__ import annotations

import json
import runpy

import pytest
import torch

from benchmarks.checks import machine, numbers, running
from tests.helpers.project import ROOT


@pytest.fixture
def command():
    return runpy.run_path(str(ROOT / 'scripts' / 'check_gpu.py'), run_name='check_gpu')['main']


@pytest.mark.slow
def test_all_checks_pass_on_a_cpu(command, tmp_path, capsys):
    assert command(['--device', 'cpu', '--output', str(tmp_path)]) == 0
    report = json.loads((tmp_path / 'check_gpu.json').read_text())
    assert [check['number'] for check in report['checks']] == list(range(1, 15))
    assert {check['status'] for check in report['checks']} <= {'ok', 'warning'}
    page = (tmp_path / 'check_gpu.md').read_text()
    assert page.count('\n| ') > 30 and 'depth-wise 3×3, float32 NHWC' in page
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1] if not line.startswith('   warning')] == [
        str(k) for k in range(1, 15)
    ]


def test_a_wrong_number_fails_and_the_others_still_run(command, tmp_path, monkeypatch):
    real = numbers.mask_average_pooling
    monkeypatch.setattr(
        numbers, 'mask_average_pooling', lambda x, labels: real(x, labels) + 1e-5 * (x.dtype == torch.float32)
    )
    assert command(['--device', 'cpu', '--only', '1', '2', '4', '--output', str(tmp_path)]) == 1
    report = json.loads((tmp_path / 'check_gpu.json').read_text())
    assert [check['status'] for check in report['checks']][1:] == ['FAILED', 'ok']
    assert 'fp32' in report['checks'][1]['text'] and '2e-06' in report['checks'][1]['text']


def test_an_error_of_a_check_is_a_failure_with_its_place(tmp_path, monkeypatch):
    monkeypatch.setitem(running.CHECKS, 1, ('machine', lambda setting: setting.missing))
    outcome = running.run_check(1, running.Setting(torch.device('cpu'), True, tmp_path))
    assert outcome.status == 'FAILED' and 'AttributeError' in outcome.text
    assert machine.facts(torch.device('cpu'))['device'] == 'cpu'


def test_unknown_checks_are_refused(command):
    with pytest.raises(Exception, match=r'--only.*99'):
        command(['--device', 'cpu', '--only', '99'])
