"""The torture of ``python -m tests.torture`` with few trials, and what its tools must notice."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from basicsr.utils.files import whole_file
from tests.helpers import training_runs as runs
from tests.torture.__main__ import PARTS, run_part
from tests.torture.disks import FullAfter
from tests.torture.mutations import OF_TEXT
from tests.torture.tally import Tally


@pytest.mark.slow
@pytest.mark.parametrize('part', PARTS)
def test_everything_survives(part, tmp_path_factory):
    seed = int(os.environ.get('TORTURE_SEED', '1'))  # a change is not refused for the luck of another draw
    for tally in run_part(part, tmp_path_factory.mktemp('t'), full=False, seed=seed):
        assert not tally.failures, f'python -m tests.torture --only {part} --seed {seed}\n{tally.text()}'
        assert tally.trials


def write_beyond(folder):
    """In a process of its own: files of Python, of text and of bytes, that share 1000 bytes."""
    place = folder / 'full'
    place.mkdir()
    FullAfter(1000, place)()
    with (place / 'a').open('wb') as file:
        file.write(bytes(600))
    with open(os.fsencode(place / 'b'), 'a', encoding='utf-8') as file:  # noqa: PTH123 - as other packages do
        file.write('x' * 300)
    with (place / 'a').open('rb+') as file:  # to be flushed
        os.fsync(file.fileno())
    with pytest.raises(OSError, match='No space') as caught:
        (place / 'c').write_bytes(bytes(101))
    assert caught.value.errno == errno.ENOSPC
    (place / 'd').write_bytes(bytes(100))
    with pytest.raises(OSError, match='No space'), whole_file(place / 'e') as file:
        file.write(b'x')
    (folder / 'elsewhere').write_bytes(bytes(10**4))
    assert sorted((path.name, path.stat().st_size) for path in place.iterdir()) == [
        ('a', 600), ('b', 300), ('c', 0), ('d', 100)
    ]  # fmt: skip


def test_without_a_small_disk_files_share_their_room(tmp_path):
    runs.call_on_ranks(write_beyond, 1, tmp_path)


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
