"""LaKDNet, RSS-T and the analysis-synthesis pair learn by their option files, alone and behind the mask prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from basicsr.models import build_model
from basicsr.options import load_options
from tests.helpers.project import ROOT
from tests.helpers.tiny_pairs import TINY as TINY_PAIR

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    'LaKDNet': ('GoPro/LaKDNet_S.yml', {'dim': 4, 'num_blocks': [1] * 4, 'mix_kernel_size': [3] * 4}),
    'RSST': (
        'GRR_real/RSST.yml',
        {'base_channel': 4, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [1] * 8},
    ),
    'AnalysisSynthesisNet': (
        'GoPro/AnalysisSynthesis.yml',
        {
            'analysis': TINY_PAIR['analysis'],
            'synthesis': {**TINY_PAIR['synthesis'], 'conv_block_n_features': 8},
        },
    ),
}


def fixed_batch() -> dict[str, torch.Tensor]:
    """Two images of blocks, and what is left of them after a blur along the rows."""
    torch.manual_seed(0)
    gt = torch.rand(2, 3, 8, 8).repeat_interleave(4, -1).repeat_interleave(4, -2)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(gt, (3, 3, 0, 0), 'reflect'), (1, 7), 1)
    return {
        'lq': blurred,
        'gt': gt,
        'masks': torch.arange(4).repeat_interleave(8).view(1, 1, 32, 1).expand(2, 1, 32, 32),
    }


def option_file(folder: Path, name: str, masked: bool) -> Path:
    """The shipped file with a small network and a learning rate for minutes."""
    base, network = TINY[name]
    if masked:
        network = {'_delete_': True, 'type': 'SAMDeblur', 'backbone': {'type': name, **network}}
    schedule = {'_delete_': True, 'type': 'CosineAnnealingLR', 'T_max': 1000}
    content = {
        '_base_': str(ROOT / 'options' / 'train' / base),
        'name': 'tiny',
        'network_g': network,
        'train': {'optim_g': {'lr': 5e-3}, 'scheduler': schedule, 'use_grad_clip': False},
    }
    path = folder / 'tiny.yml'
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
@pytest.mark.parametrize('masked', [False, True], ids=['alone', 'behind the prior'])
@pytest.mark.parametrize('name', TINY)
def test_the_error_on_a_fixed_batch_halves(tmp_path, name, masked):
    torch.manual_seed(0)
    model = build_model(load_options(option_file(tmp_path, name, masked)))
    start = {key: value.clone() for key, value in model.net.state_dict().items()}
    batch = fixed_batch()

    def error() -> float:
        return float((model.restore(batch).image - batch['gt']).square().mean())

    before = error()
    nothing = float((batch['lq'] - batch['gt']).square().mean())
    for _ in range(6):  # rounding differs among processors, so the number of steps does too
        for _ in range(100):
            done = model.train_step(batch)
            assert done.problem is None
        if (after := error()) < min(before / 2, nothing):
            break
    assert after < min(before / 2, nothing)
    still = [key for key, value in model.net.state_dict().items() if torch.equal(start[key], value)]
    assert not still
    if name == 'RSST':
        net = model.net.backbone if masked else model.net
        for scale in range(4):  # every output is compared with the ground truth of its size
            assert net.get_submodule(f'out_proj{scale}').main[0].weight.grad.abs().sum() > 0
        assert set(done.losses) == {'l_pix', 'l_pix_CharbonnierLoss', 'l_pix_FFTLoss'}


def test_the_pair_takes_steps_on_flat_images(tmp_path):
    """They have no correlations, and a kernel of zeros: nothing may become NaN."""
    torch.manual_seed(0)
    model = build_model(load_options(option_file(tmp_path, 'AnalysisSynthesisNet', False)))
    flat = torch.full((2, 3, 32, 32), 0.4)
    for lq in (flat, torch.zeros_like(flat), torch.cat([flat[:1], torch.rand(1, 3, 32, 32)])):
        assert model.train_step({'lq': lq, 'gt': lq}).problem is None
    assert all(parameter.isfinite().all() for parameter in model.net.parameters())
