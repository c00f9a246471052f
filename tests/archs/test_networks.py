"""What holds for every registered network: sizes, gradients, state, half precision, the mask prior around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs import ARCH_REGISTRY, build_network
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.nafnet_arch import NAFBlock
from basicsr.utils.device import set_memory_format
from benchmarks import transcriptions
from tests.helpers.label_maps import batch_of_label_maps, ellipses
from tests.helpers.small_networks import MASK_GUIDED, SMALL, inputs, result_of, small

pytestmark = pytest.mark.numeric

NO_IMAGE = ['AnalysisNet']  # networks that return something else
RESTORING = [name for name in SMALL if name not in NO_IMAGE]
RESIDUAL = ['NAFNet', 'NAFNetLocal', 'PhotoUNet', 'PlainUNet', 'LaKDNet', 'RSST']
BACKBONES = [*RESIDUAL, 'AnalysisSynthesisNet']
FIRST = {  # 'intro' in the others
    'LaKDNet': 'embed',
    'RSST': 'in_proj0.main.0',
    'AnalysisSynthesisNet': 'synthesis.enc.0.convs.0',
}
LAST = {'LaKDNet': 'output', 'RSST': 'out_proj3.main.0'}  # 'ending' in the others


def test_every_registered_network_is_covered_here():
    assert sorted(SMALL) == ARCH_REGISTRY.names()


@pytest.mark.parametrize('size', [(1, 1), (5, 33), (16, 16), (37, 50)])
@pytest.mark.parametrize('name', RESTORING)
def test_any_size_comes_back_in_its_size(name, size):
    net = small(name)
    result = result_of(net(*inputs(name, *size)))
    assert result.shape == (2, 3, *size)
    assert result.isfinite().all()


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', SMALL)
def test_a_batch_of_no_images_passes(name, training):
    result = result_of(small(name).train(training)(*inputs(name, 19, 17, batch=0)))
    assert result.shape == ((0, 7, 9) if name in NO_IMAGE else (0, 3, 19, 17))


@pytest.mark.parametrize('name', RESTORING)
def test_padding_is_that_of_the_input_rule(name):
    """The network on a padded input, cropped, is the network on the input."""
    net = small(name)
    lq, *masks = inputs(name, 18, 21)
    rule = net.input_rule
    told = {'real_size': (18, 21)} if rule.tells_padding else {}
    more = [rule.pad(m) for m in masks] if name in MASK_GUIDED else masks
    padded = rule.crop(result_of(net(rule.pad(lq), *more, **told)), 18, 21)
    torch.testing.assert_close(result_of(net(lq, *masks)), padded)


@pytest.mark.parametrize('name', SMALL)
def test_backward_reaches_every_parameter(name):
    """Within a few drawn networks: one may have a unit that is off for all inputs."""
    unreached = set()
    for seed in range(4):
        net = small(name, seed).train()
        outputs = net(*inputs(name, 18, 13))
        outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
        torch.stack([(output - 0.5).square().mean() for output in outputs]).sum().backward()
        gradients = {key: parameter.grad for key, parameter in net.named_parameters()}
        assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
        zero = {key for key, gradient in gradients.items() if not gradient.any()}
        unreached = zero if seed == 0 else unreached & zero
        if not unreached:
            return
    pytest.fail(f'no gradient at {sorted(unreached)}')


@pytest.mark.parametrize('name', SMALL)
def test_state_dict_round_trip(name):
    net = small(name)
    other = build_network(net.options)
    other.load_state_dict(net.state_dict(), strict=True)
    data = inputs(name, 12, 20)
    assert torch.equal(result_of(other.eval()(*data)), result_of(net(*data)))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', SMALL)
def test_half_precision_is_close_to_float32(name, dtype):
    net = small(name)
    data = inputs(name, 32, 40)
    expected = result_of(net(*data))
    with torch.autocast('cpu', dtype):
        mixed = result_of(net(*data)).float()
    pure = net.to(dtype)(*(x.to(dtype) if x.is_floating_point() else x for x in data))
    pure = result_of(pure).float()
    scale = expected.abs().max()
    assert (mixed - expected).abs().max() < 0.02 * scale
    assert (pure - expected).abs().max() < 0.05 * scale
    assert pure.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_residual_stream_of_a_block_stays_float32_under_autocast(dtype):
    block, x = NAFBlock(4), torch.randn(1, 4, 9, 10).to(dtype)
    with torch.autocast('cpu', torch.bfloat16):
        result = block(x)
    assert result.dtype == torch.float32
    assert torch.equal(result, x.float())  # a fresh block is the identity


@pytest.mark.parametrize('kernel', [(9, 11), (1, 50), (50, 50)])
def test_autocast_leaves_window_means_in_float32(kernel):
    pool, x = LocalAvgPool2d(kernel), torch.randn(1, 3, 40, 44)
    with torch.autocast('cpu', torch.bfloat16):
        result = pool(x)
    assert result.dtype == torch.float32
    assert torch.equal(result, pool(x))


@pytest.mark.parametrize(('size', 'kernel'), [((40, 44), (9, 11)), ((2, 1100), (1, 50)), ((300, 48), (400, 60))])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_window_means_of_half_precision_are_summed_in_float32(dtype, size, kernel):
    """A small signal on a large constant: the only error is the rounding of the result."""
    x = (1000 + 8 * torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0))).to(dtype)
    pool = LocalAvgPool2d(kernel)
    expected = pool(x.double())
    result = pool(x)
    assert result.dtype == dtype
    half_a_step = torch.finfo(dtype).eps / 2 * expected.abs()
    assert ((result.double() - expected).abs() <= 1.001 * half_a_step).all()


@pytest.mark.parametrize('name', ['NAFNet', 'SegNAFNet'])
def test_float16_survives_activations_whose_squares_overflow(name):
    net = small(name)
    lq, *masks = inputs(name, 32, 32)
    with torch.no_grad():
        net.intro.weight.mul_(3000)  # activations of some thousands: their squares exceed 65504
        expected = net(lq, *masks)
        result = net.half()(lq.half(), *masks).float()
    assert result.isfinite().all()
    assert (result - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize('name', SMALL)
def test_channels_last_gives_the_same(name):
    net = small(name)
    lq, *masks = inputs(name, 20, 28)
    expected = result_of(net(lq, *masks))
    set_memory_format(net, torch.channels_last)
    result = net(lq.contiguous(memory_format=torch.channels_last), *masks)
    torch.testing.assert_close(result_of(result), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', RESTORING)
def test_the_reach_is_what_the_input_rule_says(name):
    """Changing one pixel changes no output farther away than the halo."""
    net = small(name)
    halo = net.input_rule.halo
    if halo == 'global':
        size, halo = 16, 16
    else:
        size = 2 * halo + 33
    lq, *masks = inputs(name, size, size, batch=1)
    other = lq.clone()
    other[..., size // 2, size // 2] += 1
    changed = (result_of(net(lq, *masks)) - result_of(net(other, *masks))).abs().amax((0, 1)).nonzero() - size // 2
    assert 0 < changed.abs().max() <= halo


@pytest.mark.parametrize('name', BACKBONES)
def test_prior_channels_widen_the_first_layer_only(name):
    plain = {key: value.shape for key, value in small(name).state_dict().items()}
    wide = {key: value.shape for key, value in small(name, prior_channels=5).state_dict().items()}
    first = f'{FIRST.get(name, "intro")}.weight'
    assert [key for key in plain if plain[key] != wide[key]] == [first]
    of_each_channel = 4 if name == 'PhotoUNet' else 1  # the pixels of a 2×2 block
    assert wide[first][1] == plain[first][1] + 5 * of_each_channel


@pytest.mark.parametrize('name', RESIDUAL)
def test_the_result_is_the_image_plus_a_residual_whatever_the_prior(name):
    net = small(name, prior_channels=2)
    for parameter in net.get_submodule(LAST.get(name, 'ending')).parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 5, 13, 14)
    assert torch.equal(result_of(net(x)), x[:, :3])


@pytest.mark.parametrize('value', [1.0, 1 / 255])
@pytest.mark.parametrize('name', BACKBONES)
def test_samdeblur_is_algorithm_1_around_any_network(name, value):
    """Overlapping, single, empty and full masks at an odd size, against the formulas written plainly."""
    net = small('SAMDeblur', backbone={'type': name, **SMALL[name]}, mask_value=value)
    height, width = 29, 38
    empty, full = np.zeros((2, height, width), bool), np.ones((1, height, width), bool)
    masks = [ellipses(6, height, width), ellipses(1, height, width), empty, full]
    lq = torch.rand(4, 3, height, width)
    stacks = [torch.from_numpy(m)[:, None].float() * value for m in masks]
    told = {'real_size': (height, width)} if net.backbone.input_rule.tells_padding else {}
    expected = transcriptions.sam_deblur(net, lambda x: net.backbone(x, **told), lq, stacks)
    for form in (batch_of_label_maps(masks), stacks, [stack > 0 for stack in stacks]):
        torch.testing.assert_close(result_of(net(lq, form)), expected, rtol=1e-4, atol=2e-6)


def test_the_prior_makes_the_reach_of_any_network_global():
    assert small('PlainUNet').input_rule.halo != 'global'
    assert small('SAMDeblur', backbone={'type': 'PlainUNet', 'width': 4}).input_rule.halo == 'global'


def test_prior_and_backbone_can_be_called_apart():
    net = small('SAMDeblur', backbone={'type': 'PlainUNet', 'width': 4})
    lq, labels = inputs('SAMDeblur', 20, 24)
    prior = net.prior(lq, labels)
    assert prior.shape == (2, 2, 20, 24)
    torch.testing.assert_close(net.backbone(torch.cat([lq, prior], 1)), net(lq, labels))


def test_mask_dropout_acts_in_training_only_and_follows_its_seeds():
    net = small('SegNAFNet', seg_channel=2)
    lq, labels = inputs('SegNAFNet', 24, 24)
    assert torch.equal(net(lq, labels, mask_seeds=[1, 2]), net(lq, labels, mask_seeds=[3, 4]))
    net.train()
    first = net(lq, labels, mask_seeds=[1, 2])
    assert torch.equal(first, net(lq, labels, mask_seeds=[1, 2]))
    assert not torch.equal(first, net(lq, labels, mask_seeds=[3, 4]))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', MASK_GUIDED)
def test_another_mask_value_changes_nothing_but_the_mask_value(name, training):
    """Dropout goes on in training and stays off in evaluation; options tell the new value, the caller's do not."""
    options = {'type': name, **SMALL[name], 'mask_dropout': 0.5}
    net = build_network(options).train(training)
    other = build_network({**options, 'mask_value': 0.3}).train(training)
    other.load_state_dict(net.state_dict())
    net.mask_value = 0.3
    data = inputs(name, 24, 24)
    assert torch.equal(net.prior(*data, [1, 2]), other.prior(*data, [1, 2]))
    assert torch.equal(net.prior(*data, [1, 2]), net.prior(*data, [3, 4])) != training
    assert net.options == other.options
    assert 'mask_value' not in options


def test_multi_scale_outputs_keep_their_list():
    class Pyramid(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            result = self.inner(x)
            return [result[..., ::2, ::2], -result, result]

    net = small('SAMDeblur', backbone={'type': 'PlainUNet', 'width': 4})
    lq, labels = inputs('SAMDeblur', 18, 22)
    expected = net(lq, labels)
    net.backbone = Pyramid(net.backbone)
    outputs = net(lq, labels)
    assert [output.shape[-2:] for output in outputs] == [(10, 12), (20, 24), (18, 22)]  # padded, but for the last
    assert torch.equal(outputs[0][..., :9, :11], expected[..., ::2, ::2])
    assert torch.equal(outputs[-1], expected)
