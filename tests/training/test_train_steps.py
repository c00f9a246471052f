"""The original's training step, rebuilt from the parts that are here, gives its weights after four steps."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.training.optimizers import build_optimizer
from basicsr.training.scheduling import advance, build_scheduler

pytestmark = pytest.mark.numeric


@pytest.mark.vectors
@pytest.mark.parametrize('form', ['stacks', 'label maps'])
def test_train_steps(vector, form):
    case = vector('sam_deblur', 'train_steps')
    net = build_network({'type': case.meta['arch'], **case.meta['kwargs']})
    net.load_state_dict(case.state(), strict=True)
    optimizer = build_optimizer(
        net.parameters(), {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9], 'weight_decay': 1e-3}
    )
    schedule = {'type': 'CosineAnnealingLR', 'T_max': case.meta['T_max'], 'eta_min': 1e-7}
    scheduler = build_scheduler(optimizer, schedule, total_iter=4)
    loss_of = build_loss({'type': 'PSNRLoss'})
    for step in range(4):
        advance(optimizer, scheduler, step + 1, warmup_iter=-1)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(float(case['out/lr'][step]), rel=1e-6)
        masks = [torch.from_numpy(case[f'in/masks{step}_{sample}']) for sample in range(2)]
        if form == 'label maps':
            masks = torch.stack([_label_map(stack) for stack in masks])
        result = net(torch.from_numpy(case[f'in/lq{step}']), masks)
        loss = loss_of(result, torch.from_numpy(case[f'in/gt{step}']))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 0.01)
        optimizer.step()
        assert loss.item() == pytest.approx(float(case['out/loss'][step]), rel=1e-3)
        assert float(norm) == pytest.approx(float(case['out/grad_norm_before_clip'][step]), rel=1e-3)
    for key, value in net.state_dict().items():
        torch.testing.assert_close(value, torch.from_numpy(case[f'out/final_state/{key}']), **case.tolerance)


def _label_map(stack: torch.Tensor) -> torch.Tensor:
    from basicsr.masks import label_map_from_masks

    labels = torch.from_numpy(label_map_from_masks(stack.numpy()))
    assert len(labels) == 1  # a partition
    return labels
