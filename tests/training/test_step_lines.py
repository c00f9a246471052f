"""The lines of the training log are written without waiting for a GPU."""

from __future__ import annotations

import json

import pytest
import torch

from basicsr.models.step_result import StepResult
from basicsr.training.distributed import Processes
from basicsr.training.loggers import RunLog, Timer
from basicsr.training.step_lines import StepLines


@pytest.mark.parametrize(('device', 'late'), [('cpu', 0), ('cuda', 1)])
def test_on_a_gpu_a_line_is_written_one_step_later(tmp_path, device, late):
    events = []

    def result_of(step):
        return StepResult(['l_pix'], torch.tensor([step / 4, 1.0]), 0.1, lambda numbers: events.append(f'read {step}'))

    timer = Timer()
    with RunLog(tmp_path, 'run', 9) as log:
        lines = StepLines(log, Processes(device=torch.device(device)), every=3)
        for step in range(1, 8):
            events.append(f'step {step}')
            timer.data_is_here()
            timer.step_is_done()
            lines.step_is_done(step, 0, result_of(step), timer)
        events.append('end')
        lines.write()
        lines.write()
    records = [json.loads(line) for line in (tmp_path / 'log' / 'run.jsonl').read_text().splitlines()]
    assert [(record['iter'], record['l_pix']) for record in records] == [(1, 0.25), (3, 0.75), (6, 1.5)]
    for step in (1, 3, 6):
        before = events[: events.index(f'read {step}')]
        assert sum(event.startswith('step') for event in before) == step + late


def test_the_last_line_is_not_lost(tmp_path):
    with RunLog(tmp_path, 'run', 9) as log:
        lines, timer = StepLines(log, Processes(device=torch.device('cuda')), every=1), Timer()
        timer.step_is_done()
        result = StepResult(['l_pix'], torch.tensor([0.5, 1.0]), 0.1, lambda numbers: None)
        lines.step_is_done(9, 0, result, timer)
        lines.write()
    assert json.loads((tmp_path / 'log' / 'run.jsonl').read_text())['iter'] == 9
