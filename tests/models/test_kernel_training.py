"""The three stages that train an analysis-synthesis pair: what learns, from which loss, with which kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from basicsr import train
from basicsr.losses import build_loss
from basicsr.metrics import calculate_kernel_similarity
from basicsr.models import build_model
from basicsr.models.data_fit import require_fit
from basicsr.options import load_options
from basicsr.utils.errors import ArgumentError, OptionError, ShapeError
from basicsr.weights.files import read_weights
from tests.helpers.project import ROOT
from tests.helpers.scenes import scene, write_images
from tests.helpers.tiny_pairs import TINY_ANALYSIS, TINY_SYNTHESIS

pytestmark = pytest.mark.numeric

STAGES = ('1_analysis', '2_synthesis', '3_pair')
SIZE = [11, 11]


def option_file(folder: Path, stage: str, **changes: Any) -> Path:
    """The shipped file of a stage with a tiny network, tiny samples and three steps."""
    photos = write_images(folder / 'photos', {f'p{n}': scene(90, 96, n) for n in range(2)})
    data = {'dataroot_gt': photos, 'kernel_size': 11, 'gt_size': 48, 'length': 8, 'num_worker_per_gpu': 0}
    content = {
        '_base_': str(ROOT / 'options' / 'train' / 'Pair' / f'{stage}.yml'),
        'datasets': {
            'train': {**data, 'batch_size_per_gpu': 2},
            'val': {**data, 'length': 2},
        },
        'network_g': {
            'analysis': {'_delete_': True, **TINY_ANALYSIS, 'max_kernel_size': SIZE},
            'synthesis': {'_delete_': True, **TINY_SYNTHESIS, 'max_kernel_size': SIZE},
        },
        'train': {'total_iter': 3, 'total_batch_size': 2, 'warmup_iter': -1, 'scheduler': {'T_max': 3}, **changes},
        'val': {'val_freq': 3},
    }
    path = folder / f'{stage}.yml'
    path.write_text(yaml.safe_dump(content))
    return path


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The parts of the network whose weights differ."""
    return {key.split('.')[0] for key in before if not torch.equal(before[key], after[key])}


@pytest.mark.slow
def test_the_stages_follow_each_other_and_train_their_part_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learned, weights = {}, []
    for stage in STAGES:
        torch.manual_seed(1)
        assert train.main(['-opt', str(option_file(tmp_path, stage))]) == 0
        name = yaml.safe_load((ROOT / 'options' / 'train' / 'Pair' / f'{stage}.yml').read_text())['name']
        weights.append(Path('experiments') / name / 'models' / 'net_g_latest.pth')
    first, second, third = (read_weights(path).state for path in weights)
    averaged = [read_weights(path, 'params_ema').state for path in weights]
    learned['2_synthesis'] = changed(averaged[0], second)
    learned['3_pair'] = changed(averaged[1], third)
    assert learned == {'2_synthesis': {'synthesis'}, '3_pair': {'analysis', 'synthesis'}}
    untrained = build_model(load_options(option_file(tmp_path, '1_analysis')))
    torch.manual_seed(1)
    assert set(untrained.net.state_dict()) == set(first)


def batch_of(size: int = 48) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    kernel = torch.zeros(2, *SIZE)
    kernel[0, 5, 2:9], kernel[1, 3:8, 5] = 1 / 7, 1 / 5
    images = {name: torch.rand(2, 3, size, size, generator=generator) for name in ('lq', 'gt')}
    return {**images, 'kernel': kernel}


def test_each_stage_has_its_losses_and_gradients(tmp_path):
    parts = {'1_analysis': {'analysis'}, '2_synthesis': {'synthesis'}, '3_pair': {'analysis', 'synthesis'}}
    names = {'1_analysis': {'l_kernel'}, '2_synthesis': {'l_pix'}, '3_pair': {'l_kernel', 'l_pix'}}
    for stage in STAGES:
        torch.manual_seed(1)
        options = load_options(option_file(tmp_path, stage), ['path:pretrain_network_g=null'])
        model = build_model(options)
        before = {key: value.clone() for key, value in model.net.state_dict().items()}
        done = model.train_step(batch_of())
        assert done.problem is None and set(done.losses) == names[stage]
        assert changed(before, model.net.state_dict()) <= parts[stage]
        with_gradient = {key.split('.')[0] for key, p in model.net.named_parameters() if p.grad is not None}
        assert with_gradient == parts[stage]


def test_the_second_stage_restores_with_true_kernels_and_the_others_with_estimates(tmp_path):
    results = {}
    for stage in STAGES[1:]:
        torch.manual_seed(1)
        model = build_model(load_options(option_file(tmp_path, stage), ['path:pretrain_network_g=null']))
        one = {key: value[:1] for key, value in batch_of().items()}
        results[stage] = model.restore(one)
        estimated = model.net.eval().estimate_kernel(one['lq'])
        known = one['kernel'] if stage == '2_synthesis' else estimated
        torch.testing.assert_close(results[stage].image, model.net(one['lq'], known).detach())


def test_the_kernel_loss_on_cases_worked_out_by_hand():
    loss = build_loss({'type': 'KernelLoss', 'max_shift': 2})
    kernel = torch.zeros(1, 9, 9)
    kernel[0, 4, 3:6] = torch.tensor([1.0, 2.0, 1.0]) / 4
    assert float(loss(kernel, kernel)) == pytest.approx(0, abs=1e-6)
    assert float(loss(3 * kernel.roll((2, -1), (1, 2)), kernel)) == pytest.approx(0, abs=1e-6)
    # three rows down, beyond the largest shift: the kernels do not overlap
    assert float(loss(kernel.roll(3, 1), kernel)) == pytest.approx(1, abs=1e-6)
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    assert float(loss(point, kernel)) == pytest.approx(1 - 2 / 6**0.5, abs=1e-6)
    assert float(loss(torch.zeros(1, 9, 9), kernel)) == 1
    # shifts do not wrap around the border
    assert float(loss(kernel.roll(4, 1), kernel.roll(-4, 1))) == pytest.approx(1, abs=1e-6)
    with pytest.raises(ShapeError, match='needs kernels'):
        loss(kernel[None], kernel[None])


def test_the_kernel_loss_is_one_minus_the_similarity():
    rng = np.random.default_rng(0)
    pair = [rng.random((2, 7, 7)).astype(np.float32) for _ in range(2)]
    loss = build_loss({'type': 'KernelLoss', 'max_shift': 6})
    expected = 1 - np.mean([calculate_kernel_similarity(a, b) for a, b in zip(*pair, strict=True)])
    assert float(loss(*map(torch.from_numpy, pair))) == pytest.approx(expected, abs=1e-5)


def test_the_analysis_learns_a_fixed_batch(tmp_path):
    torch.manual_seed(3)
    options = load_options(option_file(tmp_path, '1_analysis', optim_g={'lr': 1e-2}, ema_decay=0.0))
    model = build_model(options)
    torch.manual_seed(0)
    batch = batch_of()
    smooth = torch.nn.functional.avg_pool2d(batch['lq'], (1, 7), 1, (0, 3))
    batch['lq'] = torch.stack([smooth[0], batch['lq'][1]])
    losses = [model.train_step(batch).losses['l_kernel'] for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (['network_g={type: NAFNet, width: 4}'], 'are for networks that find a blur kernel'),
        (['train:true_kernels=true'], "needs 'true_kernels: false'"),
        (['train:kernel_opt=null'], 'a loss is missing'),
    ],
)
def test_contradictions_are_refused(tmp_path, changes, message):
    with pytest.raises((OptionError, ArgumentError), match=message):
        build_model(load_options(option_file(tmp_path, '1_analysis'), changes))


def test_data_without_kernels_are_refused(tmp_path):
    model = build_model(load_options(option_file(tmp_path, '1_analysis')))
    with pytest.raises(OptionError, match='has no blur kernels'):
        require_fit(model, 'datasets.train', [], {'lq': torch.zeros(3, 9, 9)})
