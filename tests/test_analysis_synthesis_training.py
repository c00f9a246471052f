"""The analysis-synthesis pair through option files: it learns, alone and behind the mask prior, and is evaluated."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
import yaml

from basicsr.archs import build_network
from basicsr.data import build_dataset, collate, to_floats
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.reporting import read_report
from basicsr.utils.weights import load_weights, read_weights, save_weights
from tests.conftest import ROOT
from tests.test_analysis_synthesis import TINY, TINY_SYNTHESIS

GUIDED = {'type': 'SAMDeblur', 'backbone': TINY}


def recipe(network: dict[str, object], steps: int) -> dict[str, object]:
    made = {'name': 'made', 'type': 'SyntheticBlurDataset', 'length': 4, 'gt_size': 32, 'batch_size_per_gpu': 4}
    return {
        'name': 'trial',
        'mode': 'default',
        'manual_seed': 0,
        'num_gpu': 0,
        'datasets': {'train': {**made, 'num_worker_per_gpu': 0}},
        'network_g': network,
        'train': {
            'total_iter': steps,
            'optim_g': {'type': 'Adam', 'lr': 3e-3},
            'scheduler': {'type': 'CosineAnnealingLR', 'T_max': steps, 'eta_min': 1e-7},
            'pixel_opt': {'type': 'MSELoss'},
            'use_grad_clip': False,
        },
        'logger': {'use_tb_logger': False},
    }


@pytest.mark.parametrize('network', [TINY, GUIDED], ids=['alone', 'behind the mask prior'])
def test_the_squared_error_on_a_fixed_batch_halves(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('trial.yml').write_text(yaml.safe_dump(recipe(network, 40)))
    options = load_options('trial.yml')
    dataset = build_dataset(options.datasets['train'], phase='train', seed=0)
    batch = to_floats(collate([dataset[i] for i in range(4)]), 'cpu')
    torch.manual_seed(0)
    model = build_model(options)

    def squared_error() -> float:
        return float((model.restore(batch) - batch['gt']).square().mean())

    before = squared_error()
    assert importlib.import_module('basicsr.train').main(['-opt', 'trial.yml']) == 0
    trained = read_weights('experiments/trial/models/net_g_latest.pth')
    start = {key: value.clone() for key, value in model.net.state_dict().items()}
    load_weights(model.net, trained)
    assert squared_error() < before / 2
    for part in ('analysis.', 'synthesis.') + (('pre_seg',) if network is GUIDED else ()):
        keys = [key for key in start if part in key]
        assert any(not torch.equal(start[key], trained.state[key]) for key in keys), part
    rebuilt = build_network(trained.network)
    load_weights(rebuilt, trained)


def test_a_gradient_step_is_finite_where_the_image_is_flat(tmp_path, monkeypatch):
    """Flat images have no correlations and a kernel of zeros: nothing may become NaN."""
    monkeypatch.chdir(tmp_path)
    Path('trial.yml').write_text(yaml.safe_dump(recipe(TINY, 4)))
    model = build_model(load_options('trial.yml'))
    flat = torch.full((2, 3, 32, 32), 0.4)
    for lq in (flat, torch.zeros_like(flat), torch.cat([flat[:1], torch.rand(1, 3, 32, 32)])):
        model.train_step({'lq': lq, 'gt': lq})
        assert model.problem is None
    assert all(parameter.isfinite().all() for parameter in model.net.parameters())


def test_a_synthesis_alone_is_restored_with_a_kernel_and_the_prior(tmp_path):
    net = build_network({'type': 'SAMDeblur', 'backbone': TINY_SYNTHESIS}).eval()
    lq, labels = 255 * torch.rand(1, 3, 24, 30), torch.randint(0, 4, (1, 1, 24, 30))
    kernel = torch.full((1, 7, 9), 1 / 63)
    both = net.with_prior(lq, labels)
    restored = net.backbone(both, kernel)
    assert restored.shape == (1, 3, 24, 30)
    assert not torch.equal(restored, net.backbone(net.with_prior(lq, labels.clamp(max=1)), kernel))


@pytest.mark.parametrize('network', [TINY, GUIDED], ids=['alone', 'behind the mask prior'])
def test_real_pairs_are_evaluated(network, tmp_path, monkeypatch, shared_data):
    from tests.test_evaluation import write_label_map  # noqa: F401

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_weights(tmp_path / 'net.pth', build_network(network))
