"""A training step never waits for the GPU: shown without one, by what it reads and copies."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of
from basicsr.archs.mask_dropout import DROPPED
from basicsr.data import collate, to_floats
from basicsr.models import build_model
from basicsr.options import load_options
from basicsr.utils import constants
from basicsr.utils.device import tf32
from tests.helpers import training_runs as runs
from tests.helpers.host_waits import BlockingCopies, HostWaits, on_fake_gpu
from tests.helpers.small_networks import SMALL, small

PAIR = SMALL['AnalysisSynthesisNet']
BACKBONES = ['NAFNet', 'LaKDNet', 'RSST', 'AnalysisSynthesisNet', 'PhotoUNet', 'PlainUNet']
NETWORKS = {
    **{name: {'type': name, **SMALL[name]} for name in (*BACKBONES, 'NAFNetLocal', 'SegNAFNet', 'SegNAFNetLocal')},
    **{f'SAMDeblur({name})': {'type': 'SAMDeblur', 'backbone': {'type': name, **SMALL[name]}} for name in BACKBONES},
    'energies': {
        'type': 'SAMDeblur',
        'backbone': {'type': 'PlainUNet', **SMALL['PlainUNet']},
        'prior_features': 'energies',
    },
}


def arguments(net: nn.Module, height: int, width: int, layers: int, device: str = 'cpu') -> list[object]:
    """A batch for training or, without dropout, for evaluation."""
    lq = torch.rand(2, 3, height, width, device=device)
    if contract_of(net).prior_kind != 'regions':
        return [lq]
    labels = torch.zeros(2, layers, height, width, dtype=torch.uint8, device=device)
    return [lq, labels, DROPPED] if net.training else [lq, labels]


EACH = [pytest.param(name, marks=pytest.mark.slow if 'RSST' in name else ()) for name in NETWORKS]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', EACH)
def test_forward_passes_read_nothing_from_a_gpu(name, training):
    net = build_network(NETWORKS[name]).train(training)
    sizes = [(64, 64, 1), (64, 96, 1), (61, 77, 3)]  # a multiple of all, another one, and one that is padded
    for height, width, layers in sizes:
        with torch.inference_mode():  # computes what depends on the size alone
            net(*arguments(net, height, width, layers))
    mode = FakeTensorMode()
    fake = on_fake_gpu(net, mode)
    for height, width, layers in sizes:
        with mode, BlockingCopies() as copies:
            output = fake(*arguments(fake, height, width, layers, 'cuda'))
        result = output if isinstance(output, torch.Tensor) else output[-1]
        assert result.device.type == 'cuda' and result.shape == (2, 3, height, width)
        assert copies.found == []


def test_a_read_would_be_noticed():
    class Reader(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (1 if x.mean() > 0 else 2)

    mode = FakeTensorMode()
    fake = on_fake_gpu(Reader(3, 3, 1), mode)
    with mode, pytest.raises(DataDependentOutputException):
        fake(torch.rand(1, 3, 8, 8, device='cuda'))
    with mode, BlockingCopies() as copies:
        torch.rand(3).to('cuda')
        torch.rand(3).to('cuda', non_blocking=True)
    assert len(copies.found) == 1
    with HostWaits() as waits:
        x = torch.rand(2)
        x.tolist(), x[0].item(), bool(x[0] > 0), x.nonzero(), x.cpu()
    assert waits.count >= 5


@pytest.mark.slow
@pytest.mark.parametrize('name', NETWORKS)
def test_training_forward_passes_are_one_graph(name):
    net = build_network(NETWORKS[name]).train()
    torch._dynamo.reset()
    found = torch._dynamo.explain(net)(*arguments(net, 64, 64, 1))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


@pytest.mark.slow
@pytest.mark.parametrize('name', ['RSST', 'AnalysisSynthesisNet'])
def test_patches_of_another_size_are_one_graph_as_well(name):
    """From the second size on, the compiler sees symbols in place of sizes, as with ``train.stages``."""
    net = build_network(NETWORKS[name]).train()
    torch._dynamo.reset()
    compiled = torch.compile(net, backend='eager', fullgraph=True)
    for height, width in ((64, 64), (96, 128)):
        batch = arguments(net, height, width, 1)
        outputs = []
        for one in (net, compiled):
            torch.manual_seed(0)
            output = one(*batch)
            outputs.append(output if isinstance(output, torch.Tensor) else output[-1])
        assert torch.equal(*outputs)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['AnalysisSynthesisNet', 'NAFNetLocal'])
def test_exact_products_are_operators_of_the_graph(name, monkeypatch):
    """With TF32, for a GPU: the two networks with such products."""
    mode = FakeTensorMode()

    def fake(array, device, dtype):
        tensor = torch.as_tensor(array)
        with mode:
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            return torch.empty(tensor.shape, dtype=kind, device=device)

    monkeypatch.setattr(constants, '_moved', fake)  # the real one needs a GPU while a graph is made
    net = on_fake_gpu(build_network(NETWORKS[name]).train(), mode)
    torch._dynamo.reset()
    with tf32(True), mode:
        found = torch._dynamo.explain(net)(*arguments(net, 64, 96, 1, 'cuda'))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons
    nodes = [node for graph in found.graphs for node in graph.graph.nodes]
    assert any('bmm_without_tf32' in str(node.target) for node in nodes)


def test_the_batch_mover_never_blocks():
    batch = {
        'lq': torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        'gt': torch.zeros(2, 3, 8, 8, dtype=torch.uint16),
        'masks': torch.zeros(2, 1, 8, 8, dtype=torch.uint16),
    }
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode, BlockingCopies() as copies:
        moved = to_floats(batch, 'cuda')
        gray = to_floats(batch, 'cuda', gray_masks=True)
    assert {value.device.type for value in (*moved.values(), *gray.values())} == {'cuda'}
    assert copies.found == []


def items(count=3, layers=1):
    """Samples with label maps of random ids, unique over the layers."""
    found = []
    for index in range(count):
        generator = torch.Generator().manual_seed(index)
        labels = torch.randint(0, 7, (layers, 16, 32), generator=generator)
        labels += 10 * torch.arange(layers).view(-1, 1, 1) * (labels > 0)
        image = torch.randint(0, 256, (3, 16, 32), generator=generator, dtype=torch.uint8)
        found.append({'lq': image, 'gt': image, 'masks': labels.to(torch.uint8), 'lq_path': 'x', 'mask_seed': index})
    return found


VARIANTS = {
    'plain': {},
    'averaged': {'train__ema_decay': 0.9},
    'fp16': {'train__precision': 'fp16'},
    'bf16': {'train__precision': 'bf16'},
    'sgd': {'train__optim_g': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}},
    'rsst': {'network_g': {'type': 'RSST', **SMALL['RSST']}},
}


@pytest.mark.parametrize('variant', VARIANTS)
def test_training_steps_read_nothing(tmp_path, recipe, variant):
    model = build_model(load_options(runs.write_options(tmp_path, recipe(**VARIANTS[variant]))))
    batch = to_floats(collate(items(), model.contract.mask_dropout_in_data), 'cpu')
    if model.prior != 'regions':
        batch = {key: batch[key] for key in ('lq', 'gt')}
    model.train_step(batch)  # sets up what is kept
    with HostWaits() as waits:
        results = [model.train_step(batch, batch) for _ in range(3)]
    assert dict(waits.found) == {}
    with HostWaits() as waits:  # as the log does, once an interval
        assert results[-1].losses['l_pix'] and results[-1].grad_norm > 0
    assert waits.count <= 1


def test_other_optimizers_wait_once(tmp_path, recipe):
    content = recipe(train__optim_g={'type': 'RMSprop', 'lr': 1e-4, 'foreach': False})
    model = build_model(load_options(runs.write_options(tmp_path, content)))
    batch = to_floats(collate(items(), 0.5), 'cpu')
    model.train_step(batch)
    with HostWaits() as waits:
        model.train_step(batch)
    assert [place.split(' at ')[0] for place in waits.found if 'precision' in place] == [
        '__bool__',
        '_local_scalar_dense',
    ]


@pytest.mark.parametrize('layers', [1, 3])
@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_masks_dropped_by_the_loader_are_those_that_the_network_drops(layers, share):
    net = small('SegNAFNet', mask_dropout=share).train()
    samples = items(4, layers)
    whole, dropped = collate(samples), collate(samples, share)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    lq = to_floats(whole, 'cpu')['lq']
    theirs = net(lq, dropped['masks'], DROPPED)
    assert torch.equal(torch.get_rng_state(), state)  # nothing else is drawn
    padded = torch.nn.functional.pad(whole['masks'], (0, 0, 0, 0, 0, dropped['masks'].shape[1] - layers))
    assert torch.equal(net(lq, padded, whole['mask_seed']), theirs)
    torch.testing.assert_close(net(lq, whole['masks'], whole['mask_seed']), theirs, rtol=0, atol=1e-6)
    kept = [len(one.unique()) - int((one == 0).any()) for one in dropped['masks']]
    before = [len(one.unique()) - int((one == 0).any()) for one in whole['masks']]
    assert kept == [count - int(share * count) for count in before]
