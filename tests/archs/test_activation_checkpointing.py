"""Activation checkpointing changes memory, not outputs, gradients, names or trainings."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from basicsr.archs.activation_checkpointing import checkpoint_activations
from basicsr.archs.contract import contract_of
from basicsr.utils.errors import ArgumentError, OptionError
from tests.helpers import training_runs as runs
from tests.helpers.small_networks import SMALL, inputs, result_of, small

pytestmark = pytest.mark.numeric


def gradients(net, data):
    """Output, and the gradients of input and parameters, with the random numbers of one seed."""
    net.zero_grad()
    lq = data[0].clone().requires_grad_()
    torch.manual_seed(2)
    output = result_of(net(lq, *data[1:]))
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return [output.detach(), lq.grad, *(p.grad for p in net.parameters() if p.grad is not None)], torch.rand(3)


def kept_bytes(net, data):
    """Bytes of the tensors that a forward pass keeps for the backward pass."""
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = net(data[0].clone().requires_grad_(), *data[1:])
    assert result_of(output).requires_grad
    return sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize('name', SMALL)
@pytest.mark.parametrize('training', [False, True])
def test_outputs_and_gradients_are_the_same_bits(name, training):
    net, data = small(name).train(training), inputs(name, 40, 48)
    names, other = list(net.state_dict()), copy.deepcopy(net)
    assert checkpoint_activations(other) >= 1
    other = copy.deepcopy(other)  # as for averaged weights: a copy must compute with its own parameters
    (expected, drawn), (found, drawn_too) = gradients(net, data), gradients(other, data)
    assert len(expected) > 5
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(drawn, drawn_too)
    assert list(other.state_dict()) == names
    with torch.no_grad():
        next(other.parameters()).add_(1)
        assert not torch.equal(result_of(net(*data)), result_of(other(*data)))
        assert not result_of(other(*data)).requires_grad


@pytest.mark.parametrize(('name', 'share'), [('LaKDNet', 0.5), ('NAFNet', 0.5), ('SAMDeblur', 0.5), ('RSST', 0.6)])
def test_blocks_keep_their_inputs_only(name, share):
    net, data = small(name).train(), inputs(name, 64, 64)
    before = kept_bytes(net, data)
    checkpoint_activations(net)
    assert kept_bytes(net, data) < share * before


@pytest.mark.slow
def test_compiled_networks_keep_inputs_only_too():
    net, other, data = small('NAFNet').train(), small('NAFNet').train(), inputs('NAFNet', 64, 64)
    checkpoint_activations(other)
    plain, compiled = (torch.compile(each, backend='aot_eager', fullgraph=True) for each in (net, other))
    assert kept_bytes(compiled, data) < 0.3 * kept_bytes(plain, data)
    for first, second in zip(gradients(plain, data)[0], gradients(compiled, data)[0], strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_networks_without_declared_blocks_are_refused():
    with pytest.raises(ArgumentError, match=r'Sequential declares no blocks.*block_types'):
        checkpoint_activations(nn.Sequential(nn.Conv2d(3, 3, 3)))
    net = nn.Sequential(nn.Conv2d(3, 3, 3))
    net.block_types = (nn.Linear,)
    assert contract_of(net).block_types == (nn.Linear,)
    with pytest.raises(ArgumentError, match='has no block of Linear'):
        checkpoint_activations(net)


def test_trainings_are_the_same_bits_and_may_resume_with_or_without(tmp_path, roots):
    for name, flags in (('without', (False, False)), ('with', (True, True)), ('both', (True, False))):
        for flag, last in zip(flags, (4, 8), strict=True):
            content = runs.options(roots, train__activation_checkpointing=flag, train__ema_decay=0.9)
            content['train']['total_iter'] = 8 if name != 'both' else last
            assert runs.train(tmp_path / name, content, '--auto_resume', *(
                ['--force_yml', 'path:resume_with_changes=true'] if name == 'both' and last == 8 else []
            )) == 0  # fmt: skip
    results = [runs.result_of(tmp_path / name)['.network.params.intro.weight'] for name in ('without', 'with', 'both')]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_an_option_file_cannot_ask_it_of_a_network_without_blocks(tmp_path, roots):
    from basicsr.utils.registry import ARCH_REGISTRY

    class NoBlocks(nn.Conv2d):
        """One convolution."""

        def __init__(self):
            super().__init__(3, 3, 3, padding=1)

    ARCH_REGISTRY.get('NAFNet')
    ARCH_REGISTRY.register(NoBlocks)
    try:
        content = runs.options(roots, network_g={'type': 'NoBlocks'}, train__activation_checkpointing=True)
        with pytest.raises(OptionError, match=r'train\.activation_checkpointing: NoBlocks declares no blocks'):
            runs.train(tmp_path, content)
    finally:
        ARCH_REGISTRY._entries.pop('NoBlocks')
