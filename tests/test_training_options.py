"""Every training file that is shipped, and those of the original, builds, trains, validates and saves."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.options import load_options
from tests import training_runs as runs
from tests.conftest import ROOT

SHIPPED = sorted(path for path in (ROOT / 'options' / 'train').rglob('*.yml') if path.parent.name != '_base_')
ORIGINAL = sorted((ROOT / 'tests' / 'data' / 'original_options').glob('train_*.yml'))


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pairs')
    roots = runs.write_pairs(folder)
    (folder / 'gray').mkdir()
    for path in (folder / 'lq').iterdir():
        gray = np.random.default_rng(0).integers(0, 4, cv2.imread(str(path)).shape[:2], dtype=np.uint8) * 60
        cv2.imwrite(str(folder / 'gray' / path.name), gray)
    return {**roots, 'gray': str(folder / 'gray')}


def shrunk(path: Path, roots: dict[str, str]) -> list[str]:
    """Overrides that leave the file's classes and recipe, on tiny data."""
    options = load_options(path)
    overrides = ['network_g:width=4', 'network_g:enc_blk_nums=[1,1]', 'network_g:dec_blk_nums=[1,1]']
    for key, block in options.datasets.items():
        prefix = f'datasets:{key}'
        for name in ('dataroot_gt', 'dataroot_lq', 'dataroot_mask'):
            if name in block.arguments:
                gray = name == 'dataroot_mask' and block.type == 'PairedImageMaskDataset'
                overrides.append(f'{prefix}:{name}={roots["gray" if gray else name]}')
        if key == 'train' or 'gt_size' in block.arguments:
            overrides.append(f'{prefix}:gt_size=16')
    return overrides


@pytest.mark.parametrize('path', SHIPPED + ORIGINAL, ids=lambda path: f'{path.parent.name}/{path.name}')
def test_a_training_file_runs(path, roots, tmp_path):
    from basicsr.train import main

    with runs.inside(tmp_path):
        assert main(['-opt', str(path), '--debug', '--force_yml', *shrunk(path, roots)]) == 0
        (experiment,) = Path('experiments').iterdir()
    assert experiment.name == f'{load_options(path).name}_debug'
    log = runs.log_of(tmp_path, experiment.name)
    assert [line['iter'] for line in log] == [1, 2, 2]
    assert 'l_pix' in log[0]
    assert 5 < log[-1]['psnr'] < 40
    lines = (tmp_path / experiment / 'log' / f'{experiment.name}.log').read_text()
    assert 'the published recipe has 32' in lines  # a trial has small batches, and says so
