"""Every training file that is shipped, and those of the original, builds, trains, validates and saves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.options import load_options
from tests.helpers import training_runs as runs
from tests.helpers.grr_frames import write as write_frames
from tests.helpers.project import ROOT
from tests.helpers.tiny_pairs import TINY_ANALYSIS, TINY_SYNTHESIS

ELSEWHERE = '_base_', 'Pair'  # project/test_train_pair.py trains the stages of the pair
SHIPPED = sorted(path for path in (ROOT / 'options' / 'train').rglob('*.yml') if path.parent.name not in ELSEWHERE)
ORIGINAL = sorted(
    path
    for project in ('SAM-Deblur', 'NAFNet')
    for path in (ROOT / 'tests' / 'fixtures' / 'original_options' / project / 'train').glob('*/*.yml')
)


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pairs')
    roots = runs.write_pairs(folder)
    (folder / 'gray').mkdir()
    for path in (folder / 'lq').iterdir():
        gray = np.random.default_rng(0).integers(0, 4, cv2.imread(str(path)).shape[:2], dtype=np.uint8) * 60
        cv2.imwrite(str(folder / 'gray' / path.name), gray)
    for sequence in ('seq1', 'seq2'):
        write_frames(folder / 'frames', sequence, range(3), size=(40, 48))
    return {**roots, 'gray': str(folder / 'gray'), 'frames': str(folder / 'frames')}


NAFNETS = ['width=4', 'enc_blk_nums=[1,1]', 'dec_blk_nums=[1,1]']
TINY = {
    'LaKDNet': ['dim=4', 'num_blocks=[1,1,1,1]', 'mix_kernel_size=[3,3,3,3]'],
    'AnalysisSynthesisNet': [
        f'{part}={json.dumps(block)}' for part, block in (('analysis', TINY_ANALYSIS), ('synthesis', TINY_SYNTHESIS))
    ],
    'PhotoUNet': ['width=4', 'blocks=[1,1,1]'],
    'SAMDeblur': [f'backbone:{change}' for change in NAFNETS],
    'RSST': ['base_channel=4', 'win_size=[2,4]', 'depths=[1,1,1,1,1,1,1,1]'],
}


def shrunk(path: Path, roots: dict[str, str]) -> list[str]:
    """Overrides that leave the file's classes and recipe, on tiny data."""
    options = load_options(path)
    overrides = [f'network_g:{change}' for change in TINY.get(options.network_g.type, NAFNETS)]
    if options.train.stages:
        steps = [f'{{gt_size: {size}, total_batch_size: 2, iterations: 1}}' for size in (8, 16)]
        overrides += [f'train:stages=[{", ".join(steps)}]', 'train:total_iter=2']
    for key, block in options.datasets.items():
        if block.type == 'GRRDataset':
            overrides += [f'datasets:{key}:dataroot={roots["frames"]}']
            overrides += [f'datasets:{key}:gt_size=32'] if key == 'train' else []
            continue
        prefix = f'datasets:{key}'
        for name in ('dataroot_left', 'dataroot_right'):
            if name in block.arguments:
                overrides.append(f'{prefix}:{name}={roots["dataroot_lq"]}')
        if 'bits' in block.arguments or block.type == 'DualPixelDataset':
            overrides.append(f'{prefix}:bits=8')
        if 'pairing' in block.arguments:
            overrides.append(f'{prefix}:pairing=stem')
        for name in ('dataroot_gt', 'dataroot_lq', 'dataroot_mask'):
            if name in block.arguments:
                gray = name == 'dataroot_mask' and block.type == 'PairedImageMaskDataset'
                overrides.append(f'{prefix}:{name}={roots["gray" if gray else name]}')
        if 'meta_info_file' in block.arguments:
            overrides += [f'{prefix}:meta_info_file=null', f'{prefix}:pairing=stem']
        if 'io_backend' in block.arguments:
            overrides.append(f'{prefix}:io_backend:type=disk')
        if key == 'train' or 'gt_size' in block.arguments:
            overrides.append(f'{prefix}:gt_size=16')
    if options.path.pretrain_network_g is not None:  # the result of another training
        overrides.append('path:pretrain_network_g=null')
    return overrides


@pytest.mark.parametrize('path', SHIPPED + ORIGINAL, ids=lambda path: '/'.join(path.parts[-4:]))
def test_a_training_file_runs(path, roots, tmp_path):
    from basicsr.train import main

    with runs.inside(tmp_path):
        assert main(['-opt', str(path), '--debug', '--force_yml', *shrunk(path, roots)]) == 0
        (experiment,) = Path('experiments').iterdir()
    assert experiment.name == f'{load_options(path).name}_debug'
    log = runs.log_of(tmp_path, experiment.name)
    validations = sum(key.startswith('val') for key in load_options(path).datasets)
    assert [line['iter'] for line in log] == [1, 2] + [2] * validations
    assert 'l_pix' in log[0]
    score = log[-1].get('psnr_float', log[-1].get('psnr'))
    assert 'gain' in log[-1] or 5 < score < 40
    lines = (tmp_path / experiment / 'log' / f'{experiment.name}.log').read_text()
    options = load_options(path)
    published = 32 if options.mode == 'reference' else options.train.published_batch_size
    said = 'the published recipe uses' in lines  # a trial has small batches, and says so where it matters
    assert said == (published is not None)
    assert published is None or f'recipe uses {published}\n' in lines
