"""scripts/check_gpu.py: every check runs on a CPU, on tiny sizes; a wrong number is a failure."""

from __future__ import annotations

import json
import runpy
import sys
import time

import pytest
import torch

from basicsr.models.step_result import StepResult
from benchmarks.checks import accuracy, jobs, machine, running, steps
from tests.helpers.project import ROOT


@pytest.fixture
def command():
    return runpy.run_path(str(ROOT / 'scripts' / 'check_gpu.py'), run_name='check_gpu')['main']


@pytest.mark.slow
def test_all_checks_pass_on_a_cpu(command, tmp_path, capsys):
    assert command(['--device', 'cpu', '--minutes', '60', '--output', str(tmp_path)]) == 0
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
    real = accuracy.mask_average_pooling
    monkeypatch.setattr(
        accuracy, 'mask_average_pooling', lambda x, labels: real(x, labels) + 1e-5 * (x.dtype == torch.float32)
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


def test_checks_do_not_start_after_the_time_is_over(command, tmp_path, capsys):
    assert command(['--device', 'cpu', '--minutes', '0', '--only', '2', '4', '--output', str(tmp_path)]) == 1
    report = json.loads((tmp_path / 'check_gpu.json').read_text())
    assert [(check['status'], check['seconds']) for check in report['checks']] == [('no time', 0.0)] * 2
    assert '2 of 2' in capsys.readouterr().out


def test_trainings_end_with_the_time(tmp_path):
    setting = running.Setting(torch.device('cpu'), True, tmp_path, end=time.monotonic() - 5)
    with pytest.raises(running.CheckFailed, match='did not end within 1 s'):
        jobs.run(setting, tmp_path, [sys.executable, '-c', 'import time; time.sleep(60)'])


def test_checks_run_without_tf32(command, tmp_path, monkeypatch):
    """By default, cuDNN rounds the inputs of convolutions to TF32, beyond the limits of the comparisons."""
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    found = []
    note = lambda setting: found.extend(flag.allow_tf32 for flag in flags) or ''  # noqa: E731
    monkeypatch.setitem(running.CHECKS, 1, ('machine', note))
    before = [flag.allow_tf32 for flag in flags]
    assert command(['--device', 'cpu', '--only', '1', '--output', str(tmp_path)]) == 0
    assert found == [False, False]
    assert [flag.allow_tf32 for flag in flags] == before == [False, True]


def test_waiting_for_the_step_before_is_no_work_of_the_host(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: clock[0])

    def wait(numbers: object) -> None:
        clock[0] += 0.75

    def step() -> None:
        clock[0] += 0.25
        StepResult(['l_pix'], torch.ones(2), 1.0, wait).settle()

    rate, _, busy = steps._rate(running.Setting(torch.device('cpu'), True, tmp_path), step, (1, 4))
    assert (rate, busy) == (1.0, 0.25)
    assert clock[0] == 5.0
    steps._rate(running.Setting(torch.device('cpu'), True, tmp_path), step, (1, 1000))
    assert clock[0] < 30  # slow steps are fewer


def test_a_context_on_the_gpu_of_another_process_is_a_failure(tmp_path):
    (tmp_path / 'contexts0.json').write_text('[0]')
    (tmp_path / 'contexts1.json').write_text('[1]')
    jobs.require_own_gpus(tmp_path, 2)
    (tmp_path / 'contexts1.json').write_text('[0, 1]')
    with pytest.raises(running.CheckFailed, match=r'process 1 of 2.*\[0, 1\]'):
        jobs.require_own_gpus(tmp_path, 2)


def test_unknown_checks_are_refused(command):
    with pytest.raises(Exception, match=r'--only.*99'):
        command(['--device', 'cpu', '--only', '99'])
