"""``train.compile: true`` trains as without it. Two networks; all with ``--compile-all``, which takes minutes."""

from __future__ import annotations

import pytest
import torch
import torch._inductor.config
from torch import nn

from basicsr.data import collate, to_floats
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.training.compiling import compiled
from tests.helpers import training_runs as runs
from tests.training.test_host_waits import NETWORKS, items

pytestmark = pytest.mark.slow

SMALLEST = ['SAMDeblur(PlainUNet)', 'SegNAFNet']


def steps_of(tmp_path, recipe, network, compiled):
    """Losses and gradient norms of three steps, and the weights after them."""
    torch.manual_seed(0)
    content = recipe(network_g=network, train__compile=compiled, train__ema_decay=0.9)
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for name, parameter in model.net.named_parameters():
            if name.endswith(('beta', 'gamma')):  # zero in a fresh network, which would hide its blocks
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    samples = [
        {key: value.repeat(1, 4, 2) if isinstance(value, torch.Tensor) else value for key, value in item.items()}
        for item in items(2)
    ]
    batch = to_floats(collate(samples, model.contract.mask_dropout_in_data), 'cpu')
    if model.prior != 'regions':
        batch = {key: batch[key] for key in ('lq', 'gt')}
    torch.manual_seed(2)
    results = [model.train_step(batch) for _ in range(3)]
    return [(one.losses['l_pix'], one.grad_norm) for one in results], model.net.state_dict()


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=() if name in SMALLEST else pytest.mark.compile_all) for name in NETWORKS]
)
def test_compiled_steps_are_those_of_eager_mode(tmp_path, recipe, name):
    torch._dynamo.reset()
    eager, weights = steps_of(tmp_path / 'eager', recipe, NETWORKS[name], False)
    with torch._inductor.config.patch(fallback_random=True):  # stochastic depth: the same draws
        compiled, others = steps_of(tmp_path / 'compiled', recipe, NETWORKS[name], True)
    for one, two in zip(eager, compiled, strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    for key, value in weights.items():  # Adam divides small gradients by their size, and so enlarges their rounding
        assert (value - others[key]).abs().max() <= 2e-5 * max(1, value.abs().max()), key


def test_every_patch_size_is_compiled(tmp_path, recipe, monkeypatch):
    """Ten patch sizes; PyTorch runs without compilation after eight unless told otherwise."""
    sizes = range(16, 26)
    stages = [{'gt_size': size, 'total_batch_size': 1, 'iterations': 1} for size in sizes]
    content = recipe(
        train__compile=True, train__total_batch_size=None, train__stages=stages, train__total_iter=len(stages)
    )
    options = load_options(runs.write_options(tmp_path, content))
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain = torch.compile
    monkeypatch.setattr(torch, 'compile', lambda net, **how: plain(net, backend=backend, **how))
    net = compiled(nn.Conv2d(3, 3, 1), options.train)
    for size in sizes:
        net(torch.rand(1, 3, size, size))
    assert len(graphs) == len(sizes)
