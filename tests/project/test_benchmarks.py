"""python -m benchmarks: every item has its function, and tables hold what was measured."""

from __future__ import annotations

import importlib
import json

import pytest
import torch

from benchmarks.__main__ import ITEMS, main
from benchmarks.bench import Bench, Row, counted


def test_every_item_has_a_function():
    for name, module in ITEMS.items():
        assert callable(getattr(importlib.import_module(f'benchmarks.{module}'), f'run_{name.lower()}'))


def test_rows_show_ratios_and_the_share_of_the_floor():
    row = Row('x', 'case', 30.0, 10.0, ratio=3.0, cpu_ratio=2.5, peak=7.6, floor=2.0, target='≥ 2×')
    assert str(row) == '| case | 30 | 10 | ms | 3.0× | 2.5× | 8 | 2 (20%) | ≥ 2× |'
    a, b = torch.rand(4, 5), torch.rand(5, 6)
    assert counted(lambda: a @ b) == 2 * 4 * 5 * 6
    conv, x = torch.nn.Conv2d(8, 8, 3, padding=1, groups=8), torch.rand(2, 8, 5, 6, requires_grad=True)
    assert counted(lambda: conv(x).sum().backward()) == 3 * (2 * 2 * 8 * 9 * 5 * 6)  # one forward, two backward


def test_times_of_both_sides_are_compared(monkeypatch):
    bench = Bench(torch.device('cpu'), quick=True)
    a = torch.rand(192, 192)

    def here():
        return a @ a

    def plain():
        for _ in range(50):
            here()

    bench.item = 'product'
    bench.compare('case', plain, here, rounds=9, flops=True, moved=8.0)
    (row,) = bench.rows
    assert row.ratio == pytest.approx(row.plain / row.here) and row.ratio > 2
    assert row.floor == pytest.approx(2e3 * 192**3 / bench.rates['float32'])


@pytest.mark.slow
def test_the_command_writes_tables(tmp_path, capsys):
    assert main(['--quick', '--only', 'MAP', 'optimizer', 'stores', '--output', str(tmp_path)]) == 0
    report = json.loads((tmp_path / 'benchmarks.json').read_text())
    assert {row['item'] for row in report['rows']} == {'MAP', 'optimizer', 'stores'}
    assert all(row['here'] > 0 for row in report['rows'])
    (memory,) = [row['here'] for row in report['rows'] if row['unit'] == 'MiB']
    assert 0 < memory < 20
    page = (tmp_path / 'benchmarks.md').read_text()
    assert page.count('\n| ') >= 9 and 'fp32' in report['machine']['measured rates']
    assert '255 masks' in capsys.readouterr().out
