"""LaKDNet and RSS-T learn, alone and behind the mask prior: the squared error on a fixed batch halves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from basicsr.models import build_model
from basicsr.options import load_options

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    'LaKDNet': ('GoPro/LaKDNet_S.yml', ['dim=4', 'num_blocks=[1,1,1,1]', 'mix_kernel_size=[3,3,3,3]']),
    'RSST': ('GRR_real/RSST.yml', ['base_channel=4', 'win_size=[2,4]', 'depths=[1,1,1,1,1,1,1,1]']),
}
BACKBONES = {
    'LaKDNet': 'type: LaKDNet, dim: 4, num_blocks: [1, 1, 1, 1], mix_kernel_size: [3, 3, 3, 3]',
    'RSST': 'type: RSST, base_channel: 4, win_size: [2, 4], trans_type: rsst, depths: [1, 1, 1, 1, 1, 1, 1, 1]',
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
    base, changes = TINY[name]
    network = f'{{{", ".join(change.replace("=", ": ") for change in changes)}}}'
    if masked:
        network = f'{{_delete_: true, type: SAMDeblur, backbone: {{{BACKBONES[name]}}}}}'
    path = folder / 'tiny.yml'
    schedule = '{_delete_: true, type: CosineAnnealingLR, T_max: 1000}'
    path.write_text(
        f'_base_: {ROOT / "options" / "train" / base}\nname: tiny\nnetwork_g: {network}\n'
        f'train: {{optim_g: {{lr: 5e-3}}, scheduler: {schedule}, use_grad_clip: false}}\n'
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize('masked', [False, True], ids=['alone', 'behind the prior'])
@pytest.mark.parametrize('name', TINY)
def test_the_error_on_a_fixed_batch_halves(tmp_path, name, masked):
    torch.manual_seed(0)
    model = build_model(load_options(option_file(tmp_path, name, masked)))
    batch = fixed_batch()

    def error() -> float:
        return float((model.restore(batch).image - batch['gt']).square().mean())

    before = error()
    nothing = float((batch['lq'] - batch['gt']).square().mean())
    for _ in range(150):
        losses = model.train_step(batch)
        assert model.problem is None
    assert error() < min(before / 2, nothing)
    if name == 'RSST':
        net = model.net.backbone if masked else model.net
        for scale in range(4):  # every output is compared with the ground truth of its size
            assert net.get_submodule(f'out_proj{scale}').main[0].weight.grad.abs().sum() > 0
        assert set(losses) == {'l_pix', 'l_pix_CharbonnierLoss', 'l_pix_FFTLoss'}
