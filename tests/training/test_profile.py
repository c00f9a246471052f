"""``--profile``: a trace and the costliest operators of the steps after the first two."""

from __future__ import annotations

import json

import pytest

from tests.helpers import training_runs as runs


@pytest.mark.parametrize(('steps', 'recorded'), [(2, 0), (3, 1), (5, 3), (6, 4), (8, 4)])
def test_the_trace_has_the_steps_that_the_log_says(tmp_path, recipe, caplog, steps, recorded):
    content = recipe(train__total_iter=steps, train__scheduler__T_max=steps, val__validate_first=False)
    assert runs.train(tmp_path, content, '--profile') == 0
    trace = tmp_path / 'experiments' / 'run' / 'profile' / 'trace.json'
    assert trace.exists() == (recorded > 0)
    lines = [line for record in caplog.messages for line in record.splitlines()]
    if not recorded:
        assert any('--profile' in line and f'only {steps}' in line for line in lines)
        return
    names = [event.get('name', '') for event in json.loads(trace.read_text())['traceEvents']]
    assert len({name for name in names if name.startswith('ProfilerStep#')}) == recorded
    start = next(number for number, line in enumerate(lines) if line == f'profile of {recorded} steps:')
    assert len([line for line in lines[start + 1 :] if ' ms ' in line and ' calls ' in line]) == 10
