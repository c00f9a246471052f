"""Losses: the original's numbers, gradients, precision, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from basicsr.losses import WeightedSumLoss, build_loss
from basicsr.utils.errors import ArgumentError, ShapeError, UnknownNameError
from basicsr.utils.registry import LOSS_REGISTRY

pytestmark = pytest.mark.numeric

BLOCKS = {
    'psnr': {'type': 'PSNRLoss'},
    'psnr_w05': {'type': 'PSNRLoss', 'loss_weight': 0.5, 'reduction': 'mean'},
    'psnr_toY': {'type': 'PSNRLoss', 'toY': True},
    'l1': {'type': 'L1Loss'},
    'mse': {'type': 'MSELoss'},
    'l1_sum': {'type': 'L1Loss', 'loss_weight': 2, 'reduction': 'sum'},
}
ALL = [
    *BLOCKS.values(),
    {'type': 'CharbonnierLoss'},
    {'type': 'FFTLoss', 'loss_weight': 0.1},
    {'type': 'WeightedSumLoss', 'losses': [{'type': 'PSNRLoss'}, {'type': 'FFTLoss', 'loss_weight': 0.1}]},
]


def pair(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, 3, 9, 12, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2)]


@pytest.mark.vectors
@pytest.mark.parametrize('name', BLOCKS)
def test_losses_as_in_the_original(vector, name):
    case = vector('sam_deblur', 'losses')
    value = build_loss(BLOCKS[name])(torch.from_numpy(case['in/pred']), torch.from_numpy(case['in/target']))
    np.testing.assert_allclose(value.numpy(), case[f'out/{name}'][0], **case.tolerance)


@pytest.mark.vectors
def test_every_value_of_the_vector_is_tested(vector):
    assert {f'out/{name}' for name in BLOCKS} == {key for key in vector('sam_deblur', 'losses').arrays if 'out/' in key}


def test_every_registered_loss_is_tested():
    elsewhere = {'KernelLoss'}  # by models/test_kernel_training.py
    assert {block['type'] for block in ALL} == set(LOSS_REGISTRY.names()) - elsewhere


@pytest.mark.parametrize('block', ALL, ids=str)
def test_gradients_are_finite_and_right(block):
    loss = build_loss(block)
    target = pair()[0]
    same = target.clone().requires_grad_()
    loss(same, target).backward()
    assert torch.isfinite(same.grad).all()

    pred, target = pair(torch.float64)
    small = pred[:1, :, :3, :4].contiguous().requires_grad_()
    assert torch.autograd.gradcheck(lambda image: loss(image, target[:1, :, :3, :4]), small)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('block', ALL, ids=str)
def test_half_precision_is_computed_in_fp32(block, dtype):
    loss = build_loss(block)
    halves = pair(dtype)
    value = loss(*halves)
    assert value.dtype == torch.float32
    assert value == loss(*(tensor.float() for tensor in halves))


@pytest.mark.parametrize('block', ALL, ids=str)
def test_shapes_must_agree_and_inputs_stay(block):
    loss = build_loss(block)
    pred, target = pair()
    copies = pred.clone(), target.clone()
    loss(pred, target)
    assert torch.equal(pred, copies[0])
    assert torch.equal(target, copies[1])
    with pytest.raises(ShapeError, match=r'\(2, 3, 9, 12\).*\(1, 3, 9, 12\)'):
        loss(pred, target[:1])


def test_formulas():
    pred, target = pair(torch.float64)
    difference = pred - target
    charbonnier = build_loss({'type': 'CharbonnierLoss', 'eps': 0.1, 'reduction': 'sum'})
    torch.testing.assert_close(charbonnier(pred, target), torch.sqrt(difference**2 + 0.01).sum())
    spectrum = [torch.fft.rfft2(image) for image in (pred, target)]
    expected = (
        (spectrum[0].real - spectrum[1].real).abs().mean() + (spectrum[0].imag - spectrum[1].imag).abs().mean()
    ) / 2
    torch.testing.assert_close(build_loss({'type': 'FFTLoss'})(pred, target), expected)
    plane = build_loss({'type': 'MSELoss', 'reduction': 'none', 'loss_weight': 3.0})(pred, target)
    torch.testing.assert_close(plane, 3 * difference**2)


def test_weighted_sum():
    blocks = [{'type': 'L1Loss'}, {'type': 'FFTLoss', 'loss_weight': 0.5}, {'type': 'L1Loss', 'loss_weight': 2.0}]
    loss = WeightedSumLoss(blocks)
    pred, target = pair()
    terms = loss.terms(pred, target)
    assert list(terms) == ['L1Loss', 'FFTLoss', 'L1Loss_2']
    for block, term in zip(blocks, terms.values(), strict=True):
        assert term == build_loss(block)(pred, target)
    torch.testing.assert_close(loss(pred, target), sum(terms.values()))


@pytest.mark.parametrize(
    ('block', 'error', 'message'),
    [
        ({'type': 'PSNRLoss', 'reduction': 'sum'}, ArgumentError, 'reduction'),
        ({'type': 'PSNRLoss', 'eps': 0.0}, ArgumentError, 'eps'),
        ({'type': 'L1Loss', 'reduction': 'average'}, ArgumentError, 'reduction'),
        ({'type': 'L1Loss', 'weight': 1.0}, ArgumentError, 'loss_weight'),
        ({'type': 'PSNRLos'}, UnknownNameError, 'PSNRLoss'),
        ({'loss_weight': 1.0}, ArgumentError, 'type'),
        ({'type': 'WeightedSumLoss', 'losses': []}, ArgumentError, 'empty'),
        ({'type': 'WeightedSumLoss', 'losses': [{'type': 'L1Loss', 'reduction': 'none'}]}, ArgumentError, "'none'"),
        ({'type': 'WeightedSumLoss', 'losses': [{'type': 'L1Loss', 'epss': 1}]}, ArgumentError, 'losses.0.epss'),
    ],
)
def test_wrong_blocks_are_refused(block, error, message):
    with pytest.raises(error, match=message):
        build_loss(block)


def test_wrong_reduction_without_an_option_file():
    from basicsr.losses import MSELoss, PSNRLoss

    with pytest.raises(ArgumentError, match="'mean'"):
        PSNRLoss(reduction='sum')
    with pytest.raises(ArgumentError, match=r"'max'.*'none'"):
        MSELoss(reduction='max')


def test_shapes_that_a_loss_cannot_take():
    with pytest.raises(ShapeError, match=r'\(B, C, H, W\).*\(3, 4, 4\)'):
        build_loss({'type': 'PSNRLoss'})(torch.zeros(3, 4, 4), torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match=r'toY .*3 channels'):
        build_loss({'type': 'PSNRLoss', 'toY': True})(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    with pytest.raises(ShapeError, match=r'FFTLoss .*\(4,\)'):
        build_loss({'type': 'FFTLoss'})(torch.zeros(4), torch.zeros(4))


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int64])
@pytest.mark.parametrize('block', ALL, ids=str)
def test_integers_are_refused(block, dtype):
    loss = build_loss(block)
    pred, target = pair()
    with pytest.raises(ArgumentError, match=f'prediction .*{dtype}'):
        loss((pred * 255).to(dtype), target)
    with pytest.raises(ArgumentError, match=f'target .*{dtype}'):
        loss(pred, (target * 255).to(dtype))


@pytest.mark.parametrize('block', ALL, ids=str)
def test_as_many_elements_in_another_shape_are_refused(block):
    pred, target = pair()
    with pytest.raises(ShapeError, match=r'\(2, 3, 9, 12\).*\(2, 3, 12, 9\)'):
        build_loss(block)(pred, target.mT)


def test_charbonnier_of_equal_images_is_its_default_eps():
    image = pair(torch.float64)[0]
    assert build_loss({'type': 'CharbonnierLoss'})(image, image).item() == pytest.approx(1e-3, rel=1e-12)


def test_samples_that_are_restored_perfectly_do_not_rule_the_psnr_loss():
    target = torch.full((2, 3, 8, 8), 0.5)
    pred = target + torch.tensor([1e-3, 5e-2]).view(2, 1, 1, 1)  # 60 and 26 dB
    norms = {}
    for eps in (1e-8, 1e-4):
        leaf = pred.clone().requires_grad_()
        build_loss({'type': 'PSNRLoss', 'eps': eps})(leaf, target).backward()
        norms[eps] = leaf.grad.flatten(1).norm(dim=1)
    assert norms[1e-8][0] > 10 * norms[1e-8][1]
    assert norms[1e-4][0] < norms[1e-4][1]
    value = build_loss({'type': 'PSNRLoss', 'eps': 1e-4})(target, target)
    assert value.item() == pytest.approx(-40.0, abs=1e-4)
