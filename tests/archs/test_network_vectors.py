"""Networks against the numbers of the original implementations, published parameter names included."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.nafnet_arch import LayerNorm2d, NAFBlock
from tests.helpers.project import Vector, find_vector

pytestmark = [pytest.mark.numeric, pytest.mark.vectors]

FORWARD = ['nafnet_2level_odd', 'nafnet_4level_odd', 'nafnet_uneven_blocks', 'nafnet_gray', 'nafnet_cat_mask_channel']
LOCAL = ['nafnetlocal_exact', 'nafnetlocal_fast', 'nafnetlocal_mask']
MASKED = [
    'segnafnet_partition',
    'segnafnet_partition_1_255',
    'segnafnet_uncovered',
    'segnafnet_overlapping',
    'segnafnet_multiple_size',
    'segnafnet_train_dropout',
    'segnafnetlocal',
    'segnafnetlocal_small',
]


def network(case: Vector, **more: object) -> torch.nn.Module:
    net = build_network({'type': case.meta['arch'], **case.meta['kwargs'], **more})
    net.load_state_dict(case.state(), strict=True)
    return net.train(case.meta['mode'] == 'train')


def mask_stacks(case: Vector) -> list[torch.Tensor]:
    count = sum(key.startswith('in/masks') for key in case.arrays)
    return [case.tensor(f'in/masks{index}') for index in range(count)]


def in_samdeblur(key: str) -> str:
    """What ``SAMDeblur`` calls a parameter of ``SegNAFNet``."""
    return key if key.startswith('pre_seg') else f'backbone.{key}'


def as_samdeblur(net: torch.nn.Module, case: Vector) -> torch.nn.Module:
    """``SAMDeblur`` around the plain network, holding the same parameters under its own names."""
    arguments = dict(case.meta['kwargs'])
    unit = {'prior_channels': arguments.pop('seg_channel', 3), 'mask_dropout': arguments.pop('mask_dropout', 0.5)}
    backbone = {'type': case.meta['arch'].removeprefix('Seg'), **arguments}
    other = build_network({'type': 'SAMDeblur', 'backbone': backbone, 'mask_value': net.mask_value, **unit})
    state = {in_samdeblur(k): v for k, v in net.state_dict().items()}
    other.load_state_dict(state, strict=True)
    return other.train(net.training)


@pytest.mark.parametrize('name', FORWARD + LOCAL)
def test_forward_matches_the_original(vector, name):
    case = vector('nafnet', name)
    net = network(case)
    inputs = [key for key in case.arrays if key.startswith('in/x')]
    for key in inputs:
        result = net(case.tensor(key))
        torch.testing.assert_close(result, case.tensor(key.replace('in/x', 'out/y')), **case.tolerance)
    assert inputs


@pytest.mark.parametrize('name', LOCAL)
def test_local_pools_have_the_windows_a_warm_up_forward_would_find(vector, name):
    case = vector('nafnet', name)
    net = network(case)
    found = {
        key: [list(m.kernel_size), list(m.max_reduction)]
        for key, m in net.named_modules()
        if isinstance(m, LocalAvgPool2d)
    }
    assert found == case.meta['kernel_sizes_and_max_r']


@pytest.mark.parametrize('unit', ['SegNAFNet', 'SAMDeblur'])
@pytest.mark.parametrize('name', MASKED)
def test_mask_guided_forward_matches_the_original(vector, name, unit):
    case = vector('sam_deblur', name)
    net = network(case, mask_value=case.meta['mask_multiplier'])
    if unit == 'SAMDeblur':
        net = as_samdeblur(net, case)
    if 'torch_manual_seed' in case.meta:
        torch.manual_seed(case.meta['torch_manual_seed'])
    result = net(case.tensor('in/x'), mask_stacks(case))
    torch.testing.assert_close(result, case.tensor('out/y'), **case.tolerance)


@pytest.mark.parametrize('name', [name for name in MASKED if name != 'segnafnet_train_dropout'])
def test_label_maps_give_what_the_original_gives_for_its_stacks(vector, name):
    from basicsr.masks import label_map_from_masks

    case = vector('sam_deblur', name)
    net = network(case, mask_value=case.meta['mask_multiplier'])
    maps = [torch.from_numpy(label_map_from_masks(stack.numpy())) for stack in mask_stacks(case)]
    layers = max(len(one) for one in maps)
    labels = torch.stack([torch.cat([one, one.new_zeros(layers - len(one), *one.shape[1:])]) for one in maps])
    torch.testing.assert_close(net(case.tensor('in/x'), labels), case.tensor('out/y'), **case.tolerance)


@pytest.mark.parametrize(
    ('topic', 'name', 'unit'),
    [
        ('nafnet', 'nafnet_gradients', 'NAFNet'),
        ('sam_deblur', 'segnafnet_gradients', 'SegNAFNet'),
        ('sam_deblur', 'segnafnet_gradients_1_255', 'SegNAFNet'),
        ('sam_deblur', 'segnafnet_gradients', 'SAMDeblur'),
        ('sam_deblur', 'segnafnet_gradients_1_255', 'SAMDeblur'),
    ],
)
def test_gradients_of_all_parameters_match_the_original(vector, topic, name, unit):
    case = vector(topic, name)
    masks = mask_stacks(case)
    net = network(case, **({'mask_value': case.meta['mask_multiplier']} if masks else {}))
    net = as_samdeblur(net, case) if unit == 'SAMDeblur' else net
    x = case.tensor('in/x').requires_grad_()
    y = net(x, masks) if masks else net(x)
    loss = (y - case.tensor('in/target')).square().mean()
    loss.backward()
    torch.testing.assert_close(y, case.tensor('out/y'), **case.tolerance)
    torch.testing.assert_close(loss[None], case.tensor('out/loss'), **case.tolerance)
    torch.testing.assert_close(x.grad, case.tensor('out/grad_in/x'), **case.tolerance)
    parameters = dict(net.named_parameters())
    assert len(parameters) == len(case.state())
    for key in case.state():
        parameter = parameters[in_samdeblur(key) if unit == 'SAMDeblur' else key]
        torch.testing.assert_close(parameter.grad, case.tensor(f'out/grad/{key}'), **case.tolerance)


def test_layer_norm_and_its_gradients(vector):
    case = vector('nafnet', 'layernorm2d')
    norm = LayerNorm2d(**case.meta['kwargs'])
    norm.load_state_dict(case.state(), strict=True)
    x = case.tensor('in/x').requires_grad_()
    y = norm(x)
    y.backward(case.tensor('in/grad_y'))
    torch.testing.assert_close(y, case.tensor('out/y'), **case.tolerance)
    gradient, expected = x.grad.clone(), case.tensor('out/grad_x').clone()
    # The variance of this pixel is rounding noise, which its gradient divides by.
    torch.testing.assert_close(
        gradient[0, :, 0, 0], expected[0, :, 0, 0], rtol=2e-2, atol=2e-2 * expected[0, :, 0, 0].abs().max()
    )
    gradient[0, :, 0, 0] = expected[0, :, 0, 0] = 0
    torch.testing.assert_close(gradient, expected, **case.tolerance)
    torch.testing.assert_close(norm.weight.grad, case.tensor('out/grad_weight'), **case.tolerance)
    torch.testing.assert_close(norm.bias.grad, case.tensor('out/grad_bias'), **case.tolerance)


def test_block(vector):
    case = vector('nafnet', 'nafblock')
    block = NAFBlock(**case.meta['kwargs'])
    block.load_state_dict(case.state(), strict=True)
    torch.testing.assert_close(block(case.tensor('in/x')), case.tensor('out/y'), **case.tolerance)


@pytest.mark.parametrize('name', ['local_avgpool_op', 'local_avgpool_lazy_kernel'])
def test_local_pooling_operator(vector, name):
    case = vector('nafnet', name)
    for index, about in enumerate(case.meta['cases']):
        if 'first_call_shape' in about:
            pool = LocalAvgPool2d.for_level(
                about['first_call_shape'][-2:], about['train_size'][-2:], about['base_size'], about['fast_imp']
            )
            assert list(pool.kernel_size) == about['kernel_size']
            assert list(pool.max_reduction) == about['max_r']
        else:
            pool = LocalAvgPool2d(tuple(about['kernel_size']), about['fast_imp'])
        result = pool(case.tensor(f'in/x{index}'))
        assert list(result.shape) == about['out_shape']
        torch.testing.assert_close(result, case.tensor(f'out/y{index}'), **case.tolerance)


@pytest.mark.parametrize(
    ('published', 'options'),
    [
        ('NAFNet-width32', {'type': 'NAFNet', 'width': 32}),
        ('NAFNet-width64', {'type': 'NAFNetLocal', 'width': 64}),
        ('MaskNAFNet-width32', {'type': 'NAFNet', 'width': 32, 'mask': True}),
        ('SegNAFNet-width32-seg2', {'type': 'SegNAFNetLocal', 'width': 32, 'seg_channel': 2}),
    ],
)
def test_published_configurations_have_the_published_keys_in_order(published, options):
    official = json.loads(find_vector('nafnet', 'official_state_dict_shapes.json').read_text())[published]
    levels = {'middle_blk_num': 1, 'enc_blk_nums': [1, 1, 1, 28], 'dec_blk_nums': [1, 1, 1, 1]}
    with torch.device('meta'):
        net = build_network({**options, **levels})
    shapes = {key: list(value.shape) for key, value in net.state_dict().items()}
    assert list(shapes.items()) == [(key, list(shape)) for key, shape in official['state_dict'].items()]
    assert sum(np.prod(shape, dtype=int) for shape in shapes.values()) == official['parameters']
