"""The torture of ``python -m tests.torture`` with few trials, and what its tools must notice."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from tests.torture.__main__ import PARTS, run_part
from tests.torture.mutations import OF_TEXT
from tests.torture.tally import Tally


@pytest.mark.skip(reason='being completed: its first findings, such as files that killed runs leave, are open')
@pytest.mark.slow
@pytest.mark.parametrize('part', PARTS)
def test_everything_survives(part, tmp_path_factory):
    seed = secrets.randbelow(10**6)
    for tally in run_part(part, tmp_path_factory.mktemp('t'), full=False, seed=seed):
        assert not tally.failures, f'python -m tests.torture --only {part} --seed {seed}\n{tally.text()}'
        assert tally.trials


@pytest.mark.parametrize('change', dict.fromkeys(OF_TEXT), ids=lambda change: change.__name__)
def test_changes_are_drawn_from_the_seed(change):
    data = Path(__file__).read_bytes()
    first, again = (change(data, random.Random(3)) for _ in range(2))
    assert first == again != data
    assert len({change(data, random.Random(seed)) for seed in range(20)}) > 5


def test_a_tally_counts_and_tabulates():
    tally = Tally('Kills', 'equal')
    tally.add('training', 'early', count=3)
    tally.add('training', 'late', 'training: different')
    tally.add('masks', 'late')
    assert (tally.trials, tally.survived) == (5, 4)
    lines = tally.text().splitlines()
    assert lines[0] == 'Kills: 4 of 5 survived (equal)'
    assert lines[2:7] == [
        '|  | late | early |',
        '| --- | ---: | ---: |',
        '| masks | 1 | 0 |',
        '| training | 1 | 3 |',
        '| together | 2 | 3 |',
    ]
    assert lines[7] == 'FAILED: training: different'
