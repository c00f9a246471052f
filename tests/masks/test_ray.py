"""``--engine ray``: the same files as one process, even if a process is killed."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from basicsr.masks.making import make_masks
from basicsr.utils.errors import DataError
from basicsr.utils.ray_map import RayMap
from tests.helpers.project import ROOT
from tests.helpers.ray_work import KilledOnce, fails_on_three

pytest.importorskip('ray')
pytestmark = pytest.mark.slow


def photos(folder, count=12):
    folder.mkdir()
    for number in range(count):
        image = np.random.default_rng(number).integers(0, 256, (24, 30, 3), np.uint8)
        image[0, 0] = number
        cv2.imwrite(str(folder / f'{number:02}.png'), image)
    return folder


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_killed_process_loses_and_repeats_nothing(tmp_path):
    source = photos(tmp_path / 'photos')
    for name in ('alone', 'together'):
        (tmp_path / f'{name} notes').mkdir()
    alone = make_masks(source, tmp_path / 'alone', KilledOnce(tmp_path / 'alone notes', killed=False))
    with RayMap(workers=2) as engine:
        assert list(engine(fails_on_three, [1, 2])) == [1, 4]
        results = engine(fails_on_three, [2, 3, 4])
        assert next(results) == 4
        with pytest.raises(DataError, match='three is not accepted'):
            next(results)
        assert list(results) == [16]  # goes on after an error
        generator = KilledOnce(tmp_path / 'together notes')
        together = make_masks(source, tmp_path / 'together', generator, engine=engine)
    assert (tmp_path / 'together notes' / 'killed').exists()
    assert (together.made, together.kept, together.failed) == (alone.made, 0, {}) == (12, 0, {})
    assert (together.masks, together.coverage) == (alone.masks, alone.coverage)
    made = {path.stem: path.read_text().split() for path in (tmp_path / 'together notes').glob('*.txt')}
    assert sorted(made, key=int) == [str(number) for number in range(12)]
    assert all(len(processes) == 1 for processes in made.values())  # nothing is done twice
    assert len({processes[0] for processes in made.values()}) >= 2
    assert files_of(tmp_path / 'together') == files_of(tmp_path / 'alone')


def test_the_commands_write_the_same_files(tmp_path):
    source = photos(tmp_path / 'photos', 4)
    for engine in ('local', 'ray'):
        masks = [
            sys.executable,
            str(ROOT / 'scripts' / 'make_masks.py'),
            '--input',
            'photos',
            '--output',
            f'{engine} masks',
        ]
        photo = [
            sys.executable,
            str(ROOT / 'basicsr' / 'deblur.py'),
            str(source),
            '-o',
            f'{engine} results',
            '--device',
            'cpu',
        ]
        for words in (masks, [*photo, '--mask-cache', 'none', '--method', 'network']):
            done = subprocess.run([*words, '--engine', engine], cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / 'ray masks') == files_of(tmp_path / 'local masks')
    results = files_of(tmp_path / 'local results')
    assert len(results) == 4 and files_of(tmp_path / 'ray results').keys() == results.keys()
    for name in results:
        one, two = (cv2.imread(str(tmp_path / f'{engine} results' / name)).astype(int) for engine in ('local', 'ray'))
        assert np.abs(one - two).max() <= 1  # the number of threads may differ
