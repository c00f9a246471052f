"""The prior of filter energies: its formula, what it can tell of blur, and that it starts without effect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d, correlate

from basicsr.archs import build_network
from basicsr.interchange.recognising import network_of
from basicsr.utils.errors import ArgumentError
from tests.helpers.small_networks import LEVELS, SMALL, small

ENERGIES = {'prior_features': 'energies', 'prior_filters': 3}


def halves(height=20, width=26):
    """A label map of two regions, left and right."""
    labels = torch.ones(1, 1, height, width, dtype=torch.int64)
    labels[..., width // 2 :] = 2
    return labels


def test_the_prior_is_its_formula():
    net = small('SAMDeblur', **ENERGIES, prior_channels=2).double()
    lq, labels = torch.rand(1, 3, 18, 21, dtype=torch.float64), halves(18, 21)
    filters, mix = (weight.detach().numpy() for weight in (net.energies.filters.weight, net.energies.mix.weight))
    expected = np.zeros((2, 18, 21))
    for k, planes in enumerate(filters):
        response = sum(
            correlate(plane, w - w.mean(), mode='nearest') for plane, w in zip(lq[0].numpy(), planes, strict=True)
        )
        for region in (1, 2):
            inside = labels[0, 0].numpy() == region
            level = np.log(1 + (response[inside] ** 2).mean() / 1e-5)
            expected[:, inside] += mix[:, k, 0, 0, None] * level
    np.testing.assert_allclose(net.prior(lq, labels)[0].detach().numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize('name', ['NAFNet', 'PlainUNet', 'PhotoUNet', 'LaKDNet'])
def test_a_network_starts_as_the_one_without_prior(name):
    torch.manual_seed(0)
    backbone = {'type': name, **SMALL[name]}
    net = build_network({'type': 'SAMDeblur', 'backbone': backbone, **ENERGIES}).double().eval()
    plain = build_network(backbone).double().eval()
    weights = net.backbone.state_dict()
    for key, value in plain.state_dict().items():
        weights[key] = torch.randn_like(value) * 0.1 + value  # fresh networks may be the identity
    plain.load_state_dict({key: weights[key] for key in plain.state_dict()})
    for key, value in net.backbone.state_dict().items():
        if value.shape != weights[key].shape:  # the first layer: other weights of the prior have no effect
            wide = torch.randn_like(value)
            wide[:, : weights[key].shape[1]] = weights[key]
            weights[key] = wide
    net.backbone.load_state_dict(weights)
    lq = torch.rand(1, 3, 33, 26, dtype=torch.float64)
    assert not net.prior(lq, halves(33, 26)).any()
    torch.testing.assert_close(net(lq, halves(33, 26)), plain(lq), rtol=0, atol=1e-12)


def test_it_learns_from_zero():
    torch.manual_seed(0)
    net = build_network({'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}, **ENERGIES}).train()
    torch.nn.init.normal_(net.backbone.ending.weight, 0, 0.1)
    lq, gt, labels = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), halves(16, 16).repeat(2, 1, 1, 1)
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    for step in range(2):
        optimizer.zero_grad()
        (net(lq, labels, [0, 1]) - gt).square().mean().backward()
        assert net.energies.mix.weight.grad.any()
        assert bool(net.energies.filters.weight.grad.any()) == (step == 1)  # they count once the mix does
        optimizer.step()


def test_it_sees_the_blur_of_a_region_that_the_linear_prior_cannot():
    rng = np.random.default_rng(0)
    sharp = rng.random((3, 40, 52))
    blurred = convolve1d(sharp, np.full(7, 1 / 7), axis=2, mode='wrap')
    blurred[..., :26] = sharp[..., :26]
    blurred[..., 26:] += (sharp[..., 26:] - blurred[..., 26:]).mean((1, 2), keepdims=True)  # the same mean colours
    images = [torch.from_numpy(image)[None] for image in (sharp, blurred)]
    labels = halves(40, 52)
    change = {}
    for kind in ('linear', 'energies'):
        net = small('SAMDeblur', prior_features=kind).double()
        if kind == 'linear':
            net.pre_seg.padding_mode = 'circular'  # the frame of zeros would count
        before, after = (net.prior(image, labels)[0, :, 20, [10, 40]] for image in images)
        change[kind] = (after - before).abs().amax(0)
    assert change['linear'].max() < 0.02
    assert change['energies'][1] > 0.2 and change['energies'][0] < 0.02


def test_flat_regions_and_empty_masks():
    net = small('SAMDeblur', **ENERGIES)
    flat = torch.full((1, 3, 16, 16), 0.7)
    assert net.prior(flat, halves(16, 16)).abs().max() < 1e-6
    lq = torch.rand(1, 3, 17, 19)
    whole = net.prior(lq, torch.zeros(1, 1, 17, 19, dtype=torch.int64))
    assert torch.equal(whole, whole[..., :1, :1].expand_as(whole))
    stacks = [torch.ones(1, 1, 17, 19, dtype=torch.bool)]
    torch.testing.assert_close(net.prior(lq, stacks), whole)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_energies_are_precise_under_autocast(dtype):
    net = small('SAMDeblur', **ENERGIES)
    lq = torch.rand(1, 3, 16, 18) * 0.02 + 0.5  # faint texture on bright ground, which rounding would hide
    with torch.autocast('cpu', dtype):
        rounded = net.prior(lq, halves(16, 18)).float()
    expected = net.prior(lq, halves(16, 18))
    assert (rounded - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_file_with_energies_is_recognised():
    net = build_network({'type': 'SAMDeblur', 'backbone': {'type': 'NAFNet', **LEVELS}, **ENERGIES})
    block = network_of(net.state_dict())
    assert {key: block[key] for key in ('type', 'prior_channels', *ENERGIES)} == {
        'type': 'SAMDeblur', 'prior_channels': 2, **ENERGIES
    }  # fmt: skip
    build_network(block).load_state_dict(net.state_dict())


def test_the_default_has_the_parameters_of_the_paper():
    net = small('SAMDeblur')
    assert [key for key in net.state_dict() if not key.startswith('backbone.')] == [
        'pre_seg.weight', 'pre_seg.bias', 'pre_seg_in.weight', 'pre_seg_in.bias'
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match='energies'):
        build_network({'type': 'SAMDeblur', 'backbone': {'type': 'NAFNet', **LEVELS}, 'prior_features': 'squares'})
