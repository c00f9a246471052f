"""The analysis-synthesis pair: the original's numbers, gradients, what it looks at, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs import cross_correlation as module
from basicsr.archs.analysis_arch import normalize_kernel, rgb_to_gray, standardize
from basicsr.archs.analysis_crop import analysis_window, limit_of
from basicsr.archs.analysis_synthesis_arch import KnownKernel
from basicsr.archs.cross_correlation import AT_ONCE, CrossCorrelation, _groups
from basicsr.archs.guided_convolution import GuidedBlock
from basicsr.archs.input_rule import InputRule
from basicsr.archs.same_padding import SameConv2d, SameConvTranspose2d, crop_center
from basicsr.inference.restoring import restore_image
from basicsr.inference.tiling import restore_tiled
from basicsr.utils.errors import ArgumentError, ShapeError
from benchmarks import transcriptions_pair
from tests.helpers.project import find_vector
from tests.helpers.tiny_pairs import TINY, TINY_ANALYSIS, TINY_SYNTHESIS, TOPIC, pipeline

pytestmark = pytest.mark.numeric


def close(result: torch.Tensor, expected: np.ndarray, atol: float) -> None:
    torch.testing.assert_close(result.detach().float(), torch.from_numpy(expected), rtol=0, atol=atol)


# layers


@pytest.mark.vectors
def test_standardize(vector):
    case = vector(TOPIC, 'standardize')
    close(standardize(case.tensor('in/x')), case['out/y'], 1e-5)


@pytest.mark.parametrize('value', [0.1, 77.7, 254.9])
def test_a_constant_image_is_zero_when_standardized(value):
    assert standardize(torch.full((1, 1, 61, 83), value)).abs().max() == 0


@pytest.mark.vectors
def test_kernels_are_normalized(vector):
    case = vector(TOPIC, 'normalization')
    close(normalize_kernel(case.tensor('in/x')), case['out/l1'], 1e-6)


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['crop_center', 'crop_center_1'])
def test_centre_crop(vector, name):
    case = vector(TOPIC, name)
    assert np.array_equal(crop_center(case.tensor('in/x'), *case.meta['window']), case['out/y'])


@pytest.mark.vectors
def test_gray(vector):
    case = vector(TOPIC, 'rgb_to_gray')
    close(rgb_to_gray(case.tensor('in/x')), case['out/y'], 1e-4)


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['cross_correlation_0', 'cross_correlation_1', 'cross_correlation_2'])
def test_cross_correlation(vector, name):
    case = vector(TOPIC, name)
    about = case.meta
    layer = CrossCorrelation(about['max_shift_y'], about['max_shift_x'], about['is_add_flips'])
    close(layer(case.tensor('in/x')), case['out/y'], 2e-6)
    assert layer.out_channels(case['in/x'].shape[1]) == case['out/y'].shape[1]


@pytest.mark.parametrize('at_once', [1, 2**12, 2**15, 2**30])
@pytest.mark.parametrize('shift', [(0, 0), (0, 5), (8, 3)])
def test_correlations_do_not_depend_on_how_many_are_made_at_once(monkeypatch, at_once, shift):
    monkeypatch.setattr('basicsr.archs.cross_correlation.AT_ONCE', at_once)
    x = torch.randn(2, 7, 12, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = transcriptions_pair.cross_correlation(x, *shift)
    torch.testing.assert_close(CrossCorrelation(*shift)(x), expected, rtol=0, atol=1e-13)


def test_groups_are_all_rows_once_and_within_the_bound():
    for channels in (1, 2, 5, 32):
        for bound in (1, 7, 40, 10**6):
            groups = list(_groups(channels, bound))
            assert [i for first, last in groups for i in range(first, last)] == list(range(channels))
            assert all((b - a) * (channels - a) <= bound or b - a == 1 for a, b in groups)
            assert all((b - a + 1) * (channels - a) > bound for a, b in groups[:-1])  # and no more steps than needed


def test_products_of_spectra_are_never_there_for_all_pairs(monkeypatch):
    """At most ``AT_ONCE`` bytes of them, or one row of pairs."""
    made = []

    def record(spectra, conjugates, *matrices):
        made.append(spectra.shape[0] * spectra.shape[1] * conjugates.shape[1] * spectra[0, 0].numel() * 8)
        return windows_of_rows(spectra, conjugates, *matrices)

    windows_of_rows = module._windows_of_rows
    monkeypatch.setattr(module, '_windows_of_rows', record)
    CrossCorrelation(2, 2)(torch.rand(1, 16, 256, 256))
    row = 16 * 256 * 129 * 8
    assert max(made) <= max(AT_ONCE, row) and sum(made) > 2 * AT_ONCE


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_correlations_of_half_precision_are_rounded_once(dtype):
    """Values whose squares overflow float16; under autocast as well."""
    x = (300 + 100 * torch.randn(1, 3, 20, 24, generator=torch.Generator().manual_seed(0))).to(dtype)
    layer = CrossCorrelation(4, 5)
    expected = transcriptions_pair.cross_correlation(x.double(), 4, 5)
    with torch.autocast('cpu', torch.bfloat16):
        result = layer(x)
    assert result.dtype == dtype
    assert (result.double() - expected).abs().max() < torch.finfo(dtype).eps


def test_dead_channels_give_zeros_and_no_gradient():
    layer = CrossCorrelation(3, 3)
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0, 1] = 0
    x[1] = 0
    x.requires_grad_()
    y = layer(x)
    (y**2).sum().backward()
    assert x.grad.isfinite().all()
    assert y[1].abs().max() == 0 and x.grad[1].abs().max() == 0 and x.grad[0, 1].abs().max() == 0
    assert x.grad[0, 0].abs().max() > 0
    alive = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CrossCorrelation(2, 1), (alive,))


def test_training_keeps_no_pairs_of_spectra():
    """What autograd keeps grows with the channels, not with their pairs."""
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = torch.randn(1, 12, 64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = CrossCorrelation(2, 2)(x)
    pair = 64 * 33 * 8
    assert sum(kept.values()) < 5 * 12 * pair  # 78 pairs would be more
    y.sum().backward()


@pytest.mark.vectors
def test_same_padding_of_convolutions(vector):
    case = vector(TOPIC, 'conv_padding')
    layers = {'conv_same': SameConv2d, 'convT_same': SameConvTranspose2d}
    plain = {'conv_valid': nn.Conv2d, 'convT_valid': nn.ConvTranspose2d}
    for number, about in enumerate(case.meta['cases']):
        layer = {**layers, **plain}[about['kind']](about['cin'], about['cout'], about['kernel'], about['stride'])
        layer.load_state_dict({key: case.tensor(f'state/{number}.{key}') for key in ('weight', 'bias')})
        close(layer(case.tensor(f'in/x{number}')), case[f'out/y{number}'], 1e-5)


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['guided_conv_0', 'guided_conv_1'])
def test_guided_convolution(vector, name):
    case = vector(TOPIC, name)
    x, guidance = case.tensor('in/x'), case.tensor('in/guidance')
    before = case.meta['guide_before_op']
    layer = GuidedBlock(x.shape[1], case['out/y'].shape[1], guidance.shape[1], 1, 0, guide_before=before)
    assert torch.equal(layer.mul_bias[0], torch.ones_like(layer.mul_bias[0]))
    names = {'conv.weight': 'convs.0.weight', 'conv.bias': 'convs.0.bias', 'mul_bias': 'mul_bias.0'}
    names |= {f'{part}.{kind}': f'{part}.0.{kind}' for part in ('mul', 'add') for kind in ('weight', 'bias')}
    layer.load_state_dict({names[key]: value for key, value in case.state().items()}, strict=True)
    close(layer(x, guidance), case['out/y'], 1e-5)


@pytest.mark.parametrize(('multiplicative', 'additive'), [(False, True), (True, False), (False, False)])
def test_parts_of_the_guidance_can_be_left_out(multiplicative, additive):
    layer = GuidedBlock(2, 3, 4, 1, 0, multiplicative=multiplicative, additive=additive)
    x, g = torch.randn(2, 2, 5, 6), torch.randn(2, 4)
    expected = layer.convs[0](x)
    if multiplicative:
        expected = expected * (layer.mul[0](g) + layer.mul_bias[0])[..., None, None]
    if additive:
        expected = expected + layer.add[0](g)[..., None, None]
    torch.testing.assert_close(layer(x, g), expected.relu())
    assert torch.equal(layer(x, g), layer(x, -g)) == (not multiplicative and not additive)


@pytest.mark.vectors
def test_padding(vector):
    case = vector(TOPIC, 'pad_to_divisible')
    for number, about in enumerate(case.meta['cases']):
        rule = InputRule((about['divisor'],) * 2, padding='symmetric', placement='center')
        assert np.array_equal(rule.pad(case.tensor(f'in/x{number}')), case[f'out/y{number}'])


# networks


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['analysis_tiny', 'analysis_default_topology'])
def test_analysis(vector, name):
    case = vector(TOPIC, name)
    net = build_network({'type': 'AnalysisNet', **case.meta['config']})
    net.load_state_dict(case.state(), strict=True)
    expected = case['out/kernel']
    close(net(case.tensor('in/image')), expected, 1e-5 * float(expected.max()))


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['synthesis_tiny', 'synthesis_multiplier2', 'synthesis_default_topology'])
def test_synthesis(vector, name):
    case = vector(TOPIC, name)
    net = build_network({'type': 'SynthesisNet', **case.meta['config']})
    net.load_state_dict(case.state(), strict=True)
    close(net(case.tensor('in/image'), case.tensor('in/kernel')), case['out/image'], 0.01)


def as_unit(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.mark.vectors
def test_the_whole_pipeline(vector):
    case = vector(TOPIC, 'pipeline_odd')
    net = pipeline(case)
    lq = as_unit(case['in/image_rgb_u8'])
    with torch.no_grad():
        kernel, restored = net.estimate_kernel(lq), net(lq)
    close(kernel, case['out/kernel'], 1e-4 * float(case['out/kernel'].max()))
    close((restored[0] * 255).clamp(0, 255), case['out/deblurred'], 0.05)
    image = (restored[0] * 255).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    off = np.abs(image.astype(int) - case['out/deblurred_u8'])
    assert off.max() <= 1 and (off > 0).mean() <= 0.005
    torch.testing.assert_close(net(lq, kernel), restored)


@pytest.mark.vectors
def test_the_original_choice_of_what_the_analysis_sees(vector):
    case = vector(TOPIC, 'pipeline_reference_crop')
    lq = as_unit(case['in/image_rgb_u8'])
    with torch.no_grad():
        close(pipeline(case).estimate_kernel(lq), case['out/kernel_full'], 1e-4 * float(case['out/kernel_full'].max()))
        net = pipeline(case, analysis_crop='reference')
        expected = case['out/kernel_reference_crop']
        close(net.estimate_kernel(lq), expected, 1e-4 * float(expected.max()))
        restored = (net(lq)[0] * 255).clamp(0, 255)
    close(restored[:, ::7, ::7], case['out/deblurred_every7'], 0.05)
    off = np.abs(restored.round().byte().permute(1, 2, 0).numpy().astype(int) - case['out/deblurred_u8'])
    assert off.max() <= 1 and (off > 0).mean() <= 0.005


@pytest.mark.vectors
def test_reference_crop_table():
    rows = json.loads(find_vector(TOPIC, 'reference_crop_table.json').read_text())
    assert len(rows) >= 17
    for row in rows:
        arguments = *row['padded_hw'], limit_of(row['max_input_size']), 'reference'
        if row['crop_hw'] is None:
            with pytest.raises(ShapeError, match=f'{arguments[0]}×{arguments[1]}.*240×368'):
                analysis_window(*arguments)
        else:
            assert analysis_window(*arguments) == (*row['start'], *row['crop_hw']), row


def test_a_limit_crops_the_centre():
    assert analysis_window(100, 61) == (0, 0, 100, 61)
    assert analysis_window(100, 61, limit_of(48)) == (26, 6, 48, 48)
    assert analysis_window(100, 61, limit_of([120, 32])) == (0, 14, 100, 32)
    torch.manual_seed(0)
    net = build_network({**TINY_ANALYSIS, 'max_input_size': [20, 31]})
    x = 255 * torch.rand(1, 3, 33, 50)
    free = build_network(TINY_ANALYSIS)
    free.load_state_dict(net.state_dict())
    assert torch.equal(net(x), free(x[..., 6:26, 9:40]))


def test_published_configurations_have_their_size():
    with torch.device('meta'):
        analysis, synthesis = (build_network({'type': name}) for name in ('AnalysisNet', 'SynthesisNet'))
        both = build_network({'type': 'AnalysisSynthesisNet'})
    assert sum(p.numel() for p in analysis.parameters()) == 1_906_695
    assert sum(p.numel() for p in synthesis.parameters()) == 16_163_459
    assert len(analysis.state_dict()) == 66 and len(synthesis.state_dict()) == 259
    assert analysis.input_rule.minimum == (193, 193) and analysis.input_rule.value_range == (0.0, 255.0)
    assert both.input_rule.padded_size(10, 300) == (208, 304)
    for levels in ((3, 1), (1, 3)):  # sides fit the network that halves them more often
        parts = {**TINY_ANALYSIS, 'n_levels': levels[0]}, {**TINY_SYNTHESIS, 'n_levels': levels[1]}
        pair = build_network({'type': 'AnalysisSynthesisNet', 'analysis': parts[0], 'synthesis': parts[1]})
        assert pair.input_rule.multiple == (8, 8)
    blocks = [sum(p.numel() for p in block.parameters()) for block in (*synthesis.enc, synthesis.mid)]
    assert blocks == [1_339_648] + [1_483_648] * 4


def test_results_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    net = build_network(TINY).eval()
    lq = torch.rand(3, 3, 37, 50)
    together, alone = net(lq), torch.cat([net(one[None]) for one in lq])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    kernels = net.estimate_kernel(lq)
    assert kernels.shape == (3, 7, 9) and (kernels >= 0).all()
    assert not torch.allclose(kernels[0], kernels[1])


def test_a_small_kernel_is_put_into_the_centre():
    torch.manual_seed(0)
    net = build_network(TINY_SYNTHESIS).eval()
    x, kernel = 255 * torch.rand(2, 3, 12, 15), torch.rand(1, 5, 3)
    whole = torch.zeros(1, 7, 9)
    whole[:, 1:6, 3:6] = kernel
    assert torch.equal(net(x, kernel), net(x, whole.expand(2, -1, -1)))


@pytest.mark.parametrize('value', [0.0, -1.0, float('nan'), float('inf')])
def test_a_known_kernel_has_a_sum_above_0(value):
    net = build_network(TINY)
    with pytest.raises(ArgumentError, match='sum above 0'):
        net.with_kernel(torch.full((1, 3, 3), value))


def test_tiles_have_the_kernel_of_the_whole_image():
    torch.manual_seed(0)
    net = build_network(TINY).double().eval()
    lq = torch.rand(1, 3, 150, 131, dtype=torch.float64)
    fixed = net.fixed_for(lq)
    assert isinstance(fixed, KnownKernel) and fixed.input_rule.halo < 40 and fixed.input_rule.minimum == (1, 1)
    with torch.inference_mode():
        whole = net(lq)
        assert torch.equal(fixed(lq), whole)
        torch.testing.assert_close(restore_tiled(fixed, lq, None, 2 * 40 + 40), whole, rtol=0, atol=1e-10)
        tiled = restore_image(net, lq, tile=120)
    assert tiled.tile == 120
    torch.testing.assert_close(tiled.image, whole, rtol=0, atol=1e-10)


def test_tiles_with_a_prior_have_the_kernel_of_the_whole_image():
    torch.manual_seed(0)
    net = build_network({'type': 'SAMDeblur', 'backbone': TINY}).double().eval()
    lq, labels = torch.rand(1, 3, 150, 131, dtype=torch.float64), torch.randint(0, 5, (1, 1, 150, 131))
    with torch.inference_mode():
        torch.testing.assert_close(restore_image(net, lq, labels, tile=120).image, net(lq, labels), rtol=0, atol=1e-10)


def test_the_prior_does_not_reach_the_analysis():
    torch.manual_seed(0)
    net = build_network({**TINY, 'prior_channels': 2}).eval()
    x = torch.rand(1, 5, 40, 40)
    other = x.clone()
    other[:, 3:] += 1
    assert torch.equal(net.estimate_kernel(x), net.estimate_kernel(other))
    assert not torch.equal(net(x), net(other))


def test_a_synthesis_alone_takes_the_prior_beside_a_kernel():
    torch.manual_seed(0)
    net = build_network({'type': 'SAMDeblur', 'backbone': TINY_SYNTHESIS}).eval()
    lq, labels = 255 * torch.rand(1, 3, 24, 30), torch.randint(0, 4, (1, 1, 24, 30))
    kernel = torch.full((1, 7, 9), 1 / 63)
    restored = net.backbone(net.with_prior(lq, labels), kernel)
    assert restored.shape == (1, 3, 24, 30)
    assert not torch.equal(restored, net.backbone(net.with_prior(lq, labels.clamp(max=1)), kernel))
    with pytest.raises(ArgumentError, match=r'SynthesisNet .*kernel.*AnalysisSynthesisNet'):
        net(lq, labels)


# what is refused


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ({**TINY_ANALYSIS, 'max_kernel_size': [84, 85]}, r'max_kernel_size .*\[84, 85\]'),
        ({**TINY_SYNTHESIS, 'max_kernel_size': [85]}, r'max_kernel_size .*\[85\]'),
        ({**TINY_SYNTHESIS, 'max_kernel_size': [7, 8]}, r'max_kernel_size .*\[7, 8\]'),
        ({'type': 'AnalysisNet', 'max_input_size': 192}, 'max_input_size 192×192 .*193×193'),
        ({'type': 'AnalysisNet', 'max_input_size': [300, 300, 300]}, r'max_input_size .*\[300, 300, 300\]'),
        ({'type': 'AnalysisNet', 'activation': 'elu'}, "activation: .*'relu'.*'elu'"),
        ({'type': 'SynthesisNet', 'is_blind': True}, 'is_blind: .*True'),
        ({**TINY, 'synthesis': {**TINY_SYNTHESIS, 'max_kernel_size': [7, 7]}}, r'max_kernel_size .*\[7, 9\].*\[7, 7\]'),
        ({**TINY, 'synthesis': {**TINY_SYNTHESIS, 'prior_channels': 1}}, 'prior_channels .*synthesis'),
        ({**TINY, 'analysis': {'type': 'PlainUNet'}}, 'AnalysisNet.* PlainUNet'),
        ({**TINY, 'analysis': {'type': 'AnalysisNet', 'n_level': 2}}, r"analysis\.n_level: .*'n_levels'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(block, message):
    with pytest.raises(ArgumentError, match=message), torch.device('meta'):
        build_network(block)


def test_images_and_kernels_that_do_not_fit_are_refused():
    with torch.device('meta'):
        analysis = build_network({'type': 'AnalysisNet'})
    with pytest.raises(ShapeError, match=r'193×193 .*85×85.*300×192'):
        analysis(torch.rand(1, 3, 300, 192))
    with pytest.raises(ShapeError, match=r'\[0, 255\].*torch\.uint8.*\.float\(\)'):
        analysis(torch.zeros(1, 3, 300, 300, dtype=torch.uint8))
    with pytest.raises(ShapeError, match=r'20×6 .*3×6'):
        CrossCorrelation(3, 6)(torch.rand(1, 2, 20, 6))
    net, lq = build_network(TINY_SYNTHESIS), torch.rand(2, 3, 16, 16)
    with pytest.raises(ArgumentError, match=r'SynthesisNet .*kernel.*AnalysisSynthesisNet'):
        net(lq)
    for shape, message in (
        ((2, 9, 9), 'kernel 9×9 .*7×9'),
        ((2, 6, 9), 'odd.*6×9'),
        ((3, 7, 9), r'\(B, h, w\).*\(3, 7, 9\)'),
        ((7, 9), r'\(B, h, w\).* \(7, 9\)'),
    ):
        with pytest.raises(ShapeError, match=message):
            net(lq, torch.rand(shape))
    with torch.device('meta'):
        published = build_network({'type': 'SynthesisNet'})
    with pytest.raises(ShapeError, match=r'kernel 85×87 .*85×85'):
        published(lq, torch.rand(2, 85, 87))
    with pytest.raises(ShapeError, match=r'torch\.int64'):
        net(lq, torch.ones(2, 7, 9, dtype=torch.int64))
