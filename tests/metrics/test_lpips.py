"""LPIPS against the package of its authors, with a backbone in closed form; and what happens where it is missing."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from basicsr.metrics import Record, build_metric
from basicsr.metrics.lpips import network
from basicsr.utils.errors import WeightsError
from tests.helpers.project import absent

pytestmark = pytest.mark.numeric

SHAPES = [(64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)]
LAYERS = [0, 3, 6, 8, 10]


@pytest.fixture
def torchmetrics():
    """The optional package, which the extra 'dev' brings along."""
    if importlib.util.find_spec('torchmetrics') is None:
        absent('torchmetrics is not installed')


def closed_form() -> dict[str, torch.Tensor]:
    """AlexNet's convolutions as the vector defines them."""
    state = {}
    for number, (layer, (outputs, inputs, side)) in enumerate(zip(LAYERS, SHAPES, strict=True)):
        for offset, (kind, shape, factor) in enumerate(
            (('weight', (outputs, inputs, side, side), 2 / math.sqrt(inputs * side**2)), ('bias', (outputs,), 0.1))
        ):
            k = 2 * number + offset
            i = np.arange(math.prod(shape), dtype=np.float64)
            values = factor * np.sin(0.7 * (i + 1) * (1 + 0.1 * k) + k)
            state[f'features.{layer}.{kind}'] = torch.from_numpy(values.reshape(shape).astype(np.float32))
    return state


@pytest.mark.slow
@pytest.mark.vectors
@pytest.mark.usefixtures('torchmetrics')
def test_the_arithmetic_of_the_original(vector, tmp_path):
    case = vector('lakdnet', 'lpips_alex_closed_form')
    torch.save(closed_form(), tmp_path / 'alexnet.pth')
    metric = build_metric({'type': 'lpips', 'backbone_file': str(tmp_path / 'alexnet.pth')})
    assert metric.missing == ''
    for index, expected in enumerate(case['out/lpips']):
        output, gt = (case[f'in/{key}_{index}'][0].transpose(1, 2, 0) for key in ('pred', 'gt'))
        assert metric(Record(output=output, gt=gt)).value == pytest.approx(float(expected), rel=2e-4, abs=1e-6)


@pytest.mark.usefixtures('torchmetrics')
def test_a_backbone_of_another_network_is_refused(tmp_path):
    state = closed_form()
    del state['features.8.bias']
    torch.save(state, tmp_path / 'vgg.pth')
    metric = build_metric({'type': 'lpips', 'backbone_file': str(tmp_path / 'vgg.pth')})
    image = np.zeros((64, 64, 3), np.float32)
    with pytest.raises(WeightsError, match=r'missing: slice4\.8\.bias'):
        metric(Record(output=image, gt=image))


@pytest.mark.usefixtures('torchmetrics')
def test_building_it_draws_no_random_numbers():
    """It is built in a thread beside a training, whose random numbers must not depend on when that happens."""
    before = torch.get_rng_state()
    net = network(closed_form())
    assert torch.equal(torch.get_rng_state(), before)
    state = net.net.state_dict()
    for key, value in closed_form().items():
        (name,) = (name for name in state if name.endswith(key.removeprefix('features')))
        assert torch.equal(state[name], value)


def test_without_package_or_weights_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    assert 'AlexNet' in build_metric({'type': 'lpips'}).missing
    assert str(tmp_path / 'checkpoints') in build_metric({'type': 'lpips'}).missing
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert "torchmetrics: pip install -e '.[lpips]'" in build_metric({'type': 'lpips'}).missing
    assert build_metric({'type': 'psnr'}).missing == ''
