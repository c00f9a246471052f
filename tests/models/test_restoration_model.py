"""One training step and one restoration of a batch."""

from __future__ import annotations

import math

import pytest
import torch

from basicsr.models import build_model
from basicsr.options import load_options
from tests.helpers import training_runs as runs


def test_the_models_step_is_the_originals(vector, tmp_path, roots):
    case = vector('sam_deblur', 'train_steps')
    network = {'type': case.meta['arch'], **case.meta['kwargs']}
    schedule = {'type': 'CosineAnnealingLR', 'T_max': case.meta['T_max'], 'eta_min': 1e-7}
    content = runs.options(roots, network_g=network, train__total_iter=4, train__scheduler=schedule)
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    model.net.load_state_dict(case.state(), strict=True)
    for step in range(4):
        masks = [torch.from_numpy(case[f'in/masks{step}_{sample}']) for sample in range(2)]
        lq, gt = (torch.from_numpy(case[f'in/{name}{step}']) for name in ('lq', 'gt'))
        done = model.train_step({'lq': lq, 'gt': gt, 'masks': masks})
        assert done.losses == {'l_pix': pytest.approx(float(case['out/loss'][step]), rel=1e-3)}
        assert done.lr == pytest.approx(float(case['out/lr'][step]), rel=1e-6)
        assert done.grad_norm == pytest.approx(float(case['out/grad_norm_before_clip'][step]), rel=1e-3)
    for key, value in model.net.state_dict().items():
        torch.testing.assert_close(value, torch.from_numpy(case[f'out/final_state/{key}']), **case.tolerance)


def test_a_step_starts_without_the_gradient_of_the_one_before(tmp_path, recipe):
    """Without clipping, which makes what is left of a step too small to be seen."""
    still = {'type': 'SGD', 'lr': 0.0}
    content = recipe(train__use_grad_clip=False, train__optim_g=still, network_g__mask_dropout=0.0)
    content['train']['scheduler'] = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.5}
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    batch = {name: torch.rand(2, 3, 16, 16) for name in ('lq', 'gt')} | {'masks': torch.ones(2, 1, 16, 16).int()}
    norms = []
    for _ in range(3):
        norms.append(model.train_step(batch).grad_norm)
    assert norms == [pytest.approx(norms[0])] * 3


def test_gray_masks_become_a_fourth_channel(tmp_path, roots):
    content = runs.options(roots, network_g={'type': 'NAFNet', 'width': 4, 'mask': True})
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    lq, gray = torch.rand(2, 3, 8, 8), torch.rand(2, 1, 8, 8)
    (given,) = model.inputs({'lq': lq, 'masks': gray})
    assert torch.equal(given, torch.cat([lq, gray], 1))
    assert model.restore({'lq': lq, 'masks': gray}).image.shape == (2, 3, 8, 8)


def test_restoring_uses_the_average_and_no_dropout(tmp_path, recipe):
    model = build_model(load_options(runs.write_options(tmp_path, recipe(train__ema_decay=0.9))))
    with torch.no_grad():
        for parameter in model.net.parameters():
            parameter.fill_(math.nan)
    batch = {'lq': torch.rand(1, 3, 9, 7), 'masks': torch.ones(1, 1, 9, 7, dtype=torch.uint8)}
    output = model.restore(batch).image
    assert output.shape == (1, 3, 9, 7)
    assert bool(torch.isfinite(output).all())
    assert torch.equal(output, model.restore(batch).image)


def test_restoring_in_the_middle_of_a_training_leaves_it_in_training(tmp_path, recipe):
    content = recipe(network_g={**runs.REGIONS, 'mask_dropout': 1.0})
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    torch.nn.init.normal_(model.net.pre_seg.weight)
    batch = {'lq': torch.rand(1, 3, 12, 12), 'masks': torch.ones(1, 1, 12, 12, dtype=torch.uint8)}
    batch['masks'][..., :6] = 2
    model.net.train()
    restored = model.restore(batch).image
    assert model.net.training
    model.net.eval()
    assert torch.equal(restored, model.restore(batch).image)
    assert not model.net.training
    with torch.inference_mode():
        without = model.net(batch['lq'], torch.zeros_like(batch['masks']))
    assert not torch.allclose(restored, without)  # masks do matter here


def test_what_is_dropped_depends_on_the_samples_alone(tmp_path, recipe):
    """Not on generators that another number of processes would use otherwise."""
    model = build_model(load_options(runs.write_options(tmp_path, recipe(train__optim_g={'type': 'SGD', 'lr': 0.0}))))
    torch.nn.init.normal_(model.net.pre_seg.weight)
    labels = torch.arange(1, 9, dtype=torch.int32).repeat_interleave(2).view(1, 1, 16, 1).expand(2, 1, 16, 16)
    batch = {name: torch.rand(2, 3, 16, 16) for name in ('lq', 'gt')} | {'masks': labels}
    losses = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        losses.append(model.train_step({**batch, 'mask_seed': torch.tensor([5, 6])}).losses['l_pix'])
    assert len(set(losses)) == 1
    assert model.train_step({**batch, 'mask_seed': torch.tensor([7, 8])}).losses['l_pix'] != losses[0]
