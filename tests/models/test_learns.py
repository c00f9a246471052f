"""NAFNet and SAM-Deblur learn real blur through their option files: the squared error on a fixed batch halves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.data import build_dataset, collate, to_floats
from basicsr.images.files import imread, imwrite
from basicsr.masks import write_label_map
from basicsr.masks.generator import build_generator
from basicsr.models import build_model
from basicsr.options import load_options
from tests.helpers.project import ROOT

pytestmark = pytest.mark.numeric

SMALL = ['network_g:width=8', 'network_g:enc_blk_nums=[1,1]', 'network_g:dec_blk_nums=[1,1]']
FASTER = ['train:optim_g:lr=4e-3', 'train:grad_clip_norm=1.0', 'train:scheduler:T_max=1000']


@pytest.fixture(scope='module')
def roots(shared_data, tmp_path_factory):
    """Four real pairs, 48×48, with label maps of the generator that needs no weights."""
    folder = tmp_path_factory.mktemp('pairs')
    generator = build_generator({'type': 'felzenszwalb', 'scale': 30, 'min_size': 30})  # the patches are small
    for name in ('input', 'target', 'masks'):
        (folder / name).mkdir()
    names = sorted(path.name for path in (shared_data / 'pairs_small' / 'input').glob('*.png'))
    kept = 0
    for name in names:
        lq, gt = (imread(shared_data / 'pairs_small' / kind / name) for kind in ('input', 'target'))
        if lq.shape[2] != 3 or kept == 4:
            continue
        kept += 1
        lq, gt = (np.ascontiguousarray(image[40:88, 40:88]) for image in (lq, gt))
        imwrite(folder / 'input' / name, lq)
        imwrite(folder / 'target' / name, gt)
        write_label_map(folder / 'masks' / name, generator.label_map(lq))
    assert kept == 4
    return {'lq': folder / 'input', 'gt': folder / 'target', 'mask': folder / 'masks'}


@pytest.mark.slow
@pytest.mark.parametrize('method', ['NAFNet', 'SAMDeblur'])
def test_the_error_on_a_fixed_batch_halves(roots, method):
    keys = [key for key in roots if key != 'mask' or method == 'SAMDeblur']
    force = [f'datasets:train:dataroot_{key}={roots[key]}' for key in keys] + ['datasets:train:gt_size=48']
    options = load_options(ROOT / f'options/train/GoPro/{method}.yml', [*SMALL, *FASTER, *force])
    torch.manual_seed(0)
    model = build_model(options)
    dataset = build_dataset(options.datasets['train'], phase='val')
    batch = to_floats(collate([dataset[index] for index in range(4)]), 'cpu')
    if method == 'SAMDeblur':
        assert all(len(labels.unique()) > 1 for labels in batch['masks'])

    def error() -> float:
        return float((model.restore(batch).image - batch['gt']).square().mean())

    nothing, before = float((batch['lq'] - batch['gt']).square().mean()), error()
    for _ in range(300):
        assert model.train_step(batch).problem is None
    assert error() < min(before / 2, 0.9 * nothing)
