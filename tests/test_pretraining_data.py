"""The pictures that the network in experiments/pretrained_models learned from: made once, from allowed photos alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.data import build_dataset
from tests.conftest import ROOT

SMALL = ['--pictures', '14', '--workers', '0']


def make_data(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / 'scripts/make_pretraining_data.py'), '--output', str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder.parent, env={**os.environ, 'https_proxy': 'x'}
    )


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('pretraining') / 'data'
    done = make_data(folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_kinds_of_pictures(data):
    for part in ('train', 'val'):
        names = sorted(path.stem for path in (data / part / 'blur').iterdir())
        kinds = {name.rsplit('_', 1)[0] for name in names}
        motions = ('shaken', 'panned', 'moving', 'still')
        assert kinds == {f'{a}_{b}' for a in ('leaves', 'scenes', 'textures') for b in motions}
        for folder in ('sharp', 'masks'):
            assert sorted(path.stem for path in (data / part / folder).iterdir()) == names
        folders = {f'dataroot_{key}': str(data / part / name) for key, name in (('gt', 'sharp'), ('lq', 'blur'))}
        block = {'type': 'PairedImageGroupMaskDataset', **folders, 'dataroot_mask': str(data / part / 'masks')}
        for item in build_dataset(block, phase='val'):
            assert item['lq'].shape == item['gt'].shape == (3, 192, 192)
            assert item['masks'].shape[1:] == (192, 192)


@pytest.mark.slow
def test_still_pictures_are_hardly_blurred_and_the_others_are(data):
    def error(motion: str) -> float:
        files = sorted((data / 'val' / 'blur').glob(f'*_{motion}_*'))
        pairs = [(cv2.imread(str(f)), cv2.imread(str(data / 'val' / 'sharp' / f.name))) for f in files]
        return float(np.mean([np.square(a.astype(float) - b).mean() for a, b in pairs]))

    assert error('still') < 0.5 * min(error('shaken'), error('panned'), error('moving'))


@pytest.mark.slow
def test_photos_of_the_quick_starts_test_are_not_among_them(data):
    used = {path.stem.rsplit('_', 1)[0] for path in (data / 'photos').rglob('*.png')}
    assert len(used) == 13
    assert not used & {'astronaut', 'camera', 'chelsea', 'coffee'}


@pytest.mark.slow
def test_a_second_run_keeps_them_and_other_settings_are_refused(data):
    before = {path: path.stat().st_mtime_ns for path in data.rglob('*')}
    again = make_data(data, *SMALL)
    assert again.returncode == 0
    assert 'are there already' in again.stdout
    assert {path: path.stat().st_mtime_ns for path in data.rglob('*')} == before
    assert json.loads((data / 'pretraining.json').read_text())['seed'] == 0
    other = make_data(data, *SMALL, '--seed', '1')
    assert other.returncode == 1
    assert 'seed differ' in other.stderr


def test_numbers_that_make_no_sense(tmp_path):
    done = make_data(tmp_path / 'data', '--pictures', '0')
    assert done.returncode == 1
    assert '--pictures is at least 1' in done.stderr
