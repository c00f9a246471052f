"""RSS-T against the numbers of its original: networks, blocks, modules, losses, schedules, gradients; and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from basicsr.archs import build_network, rsst_attention
from basicsr.archs.input_rule import InputRule
from basicsr.archs.rsst_arch import FAM, SCM, SEFF, drop_path_rates
from basicsr.archs.rsst_attention import WindowAttention
from basicsr.archs.rsst_blocks import BLOCKS, ConvAct, LeFF, Mlp, TransGroup
from basicsr.losses import build_loss, targets_of
from basicsr.training import advance, build_optimizer, build_scheduler
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.weights.files import load_weights, read_weights
from tests.helpers.project import Vector, find_vector

pytestmark = pytest.mark.numeric

PADDED = ['rsst_c4_pad_w4x16_37x75_b2', 'lewin_c4_pad_w4x4_29x61']
WHOLE = [
    'rsst_c4_concat_ffn_w4x16_32x128',
    'rsst_c4_d1_w4x16_32x128',
    'rsst_c4_d2_w4x16_32x128_b2',
    'rsst_c4_mixdepth_w4x16_64x256',
    'rsst_c6_w8x8_64x64',
    'lewin_c4_w8x8_64x64',
]
SHRUNK = 'rsst_c4_shrink_w4x16_16x64'  # smaller than the padding would make it
BLOCKS_OF_VECTORS = [
    'block_shift_w4x16',
    'block_mask_shift_w4x16',
    'block_noshift_w4x16',
    'block_shift_one_axis',
    'block_concat_mask',
]
PUBLISHED = {'type': 'RSST', 'base_channel': 32, 'win_size': [4, 16], 'trans_type': 'rsst'}
TINY = {'type': 'RSST', 'base_channel': 4, 'win_size': [2, 4], 'trans_type': 'rsst', 'depths': [2, 1, 1, 1, 1, 1, 1, 1]}
LOSSES = {
    'type': 'WeightedSumLoss',
    'losses': [{'type': 'CharbonnierLoss'}, {'type': 'FFTLoss', 'loss_weight': 0.1, 'spectrum': 'full'}],
}


def tolerance_of(case: Vector) -> dict[str, float]:
    """``rtol`` and ``atol`` as the index of the vectors states them."""
    index = json.loads(find_vector('rsst', 'cases.json').read_text())['cases']
    found = next(entry['tolerance'] for entry in index if entry['file'] == case.path.name)
    return {key: found[key] for key in ('rtol', 'atol')}


def network(case: Vector) -> torch.nn.Module:
    net = build_network({'type': 'RSST', **case.meta['kwargs']}).eval()
    net.load_state_dict(case.state(), strict=True)
    return net


def part_of(case: Vector, name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f'{name}.'): value for key, value in case.state().items() if key.startswith(f'{name}.')}


@pytest.mark.vectors
@pytest.mark.parametrize('name', [*PADDED, *WHOLE])
def test_forward_matches_the_original(vector, name):
    case = vector('rsst', name)
    outputs = network(case)(case.tensor('in/image'))
    last = 'pred' if name in PADDED else 'scale3'
    for output, key in zip(outputs, ('scale0', 'scale1', 'scale2', last), strict=True):
        torch.testing.assert_close(output, case.tensor(f'out/{key}'), **tolerance_of(case))


@pytest.mark.vectors
def test_nothing_stays_in_the_network_from_one_size_to_the_next(vector):
    """The window shrinks for a small image, and only for that one."""
    small, large = vector('rsst', SHRUNK), vector('rsst', 'rsst_c4_concat_ffn_w4x16_32x128')
    for case, other in ((small, large), (large, small)):
        net = network(case)
        net.scales(other.tensor('in/image'))
        for k, output in enumerate(net.scales(case.tensor('in/image'))):
            torch.testing.assert_close(output, case.tensor(f'out/scale{k}'), **tolerance_of(case))


@pytest.mark.vectors
@pytest.mark.parametrize('name', BLOCKS_OF_VECTORS)
def test_blocks(vector, name):
    case = vector('rsst', name)
    block = BLOCKS['rsst'](**case.meta['kwargs']).eval()
    block.load_state_dict(case.state(), strict=True)
    mask = case.tensor('in/mask') if 'in/mask' in case.arrays else None
    seen: dict[str, torch.Tensor] = {}
    block.attn.register_forward_hook(lambda _, given, out: seen.update(attn_in=given[0], attn_out=out))
    block.mlp.register_forward_hook(lambda _, given, out: seen.update(mlp_in=given[0], mlp_out=out))
    beside = block._beside
    block._beside = lambda x: seen.setdefault('spec_out', beside(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    y = block(case.tensor('in/x').permute(0, 2, 3, 1), mask).permute(0, 3, 1, 2)
    torch.testing.assert_close(y, case.tensor('out/y'), **tolerance_of(case))
    for key, value in seen.items():
        expected = case.tensor(f'out/{key}')
        torch.testing.assert_close(value.reshape(expected.shape), expected, **tolerance_of(case))


@pytest.mark.vectors
@pytest.mark.parametrize('name', ['SCM', 'FAM', 'SEFF', 'LeFF', 'Mlp', 'DOWN', 'UP', 'GROUP_rsst', 'GROUP_LeWin'])
def test_modules(vector, name):
    case = vector('rsst', 'modules')
    kwargs = case.meta['kwargs'][name]
    if name.startswith('GROUP'):
        depth = kwargs.pop('depth')
        module = TransGroup(name.removeprefix('GROUP_'), kwargs.pop('dim'), depth, [0.0] * depth, **kwargs)
    elif name in ('DOWN', 'UP'):
        up = name == 'UP'
        module = ConvAct(16 if up else 8, 8 if up else 16, 4 if up else 3, 2, transpose=up)
    else:
        module = {'SCM': SCM, 'FAM': FAM, 'SEFF': SEFF, 'LeFF': LeFF, 'Mlp': Mlp}[name](**kwargs)
    module.eval().load_state_dict(part_of(case, name), strict=True)
    given = [case.tensor(key) for key in case.arrays if key.startswith(f'in/{name}.')]
    torch.testing.assert_close(module(*given), case.tensor(f'out/{name}'), **tolerance_of(case))


def test_scales_are_merged_as_if_they_were_all_enlarged_first():
    torch.manual_seed(0)
    merge = SEFF(60, 8, 16)
    features = [torch.rand(2, 4 * 2**k, 32 >> k, 48 >> k) for k in range(4)]
    for scale in range(4):
        size = features[scale].shape[-2:]
        resized = [torch.nn.functional.interpolate(part, size, mode='nearest') for part in features]
        torch.testing.assert_close(merge(*features, scale=scale), merge(*resized), rtol=1e-4, atol=1e-5)


@pytest.mark.vectors
def test_the_gate_behind_attention(vector):
    case = vector('rsst', 'ext_attention_se')
    attention = WindowAttention(**{**case.meta['kwargs'], 'win_size': tuple(case.meta['kwargs']['win_size'])}).eval()
    attention.load_state_dict(case.state(), strict=True)
    result = attention(case.tensor('in/x')[None])[0]
    torch.testing.assert_close(result, case.tensor('out/y'), **tolerance_of(case))


@pytest.mark.vectors
def test_padding(vector):
    case = vector('rsst', 'padding')
    for index in range(4):
        x, factor = case.tensor(f'in/{index}.x'), case[f'in/{index}.factor'].tolist()
        rule = InputRule((factor[0], factor[1]), placement='center')
        assert torch.equal(rule.pad(x), case.tensor(f'out/{index}.padded'))
        assert torch.equal(rule.pad(torch.ones_like(x[:, :1])), case.tensor(f'out/{index}.mask'))
    assert build_network(TINY).input_rule.multiple == (16, 32)
    assert build_network({**TINY, 'win_size': [8, 8]}).input_rule.multiple == (64, 64)


def loss_of(outputs: list[torch.Tensor], gt: torch.Tensor) -> torch.Tensor:
    loss = build_loss(LOSSES)
    return torch.stack([loss(*pair) for pair in zip(outputs, targets_of(outputs, gt), strict=True)]).sum()


def assert_parts(case: Vector, outputs: list[torch.Tensor], targets: list[torch.Tensor], rel: float) -> None:
    """The sums of each loss over the scales; the original adds a tenth of the second."""
    for loss, key, share in zip(build_loss(LOSSES).losses.values(), ('content', 'fft'), (1, 0.1), strict=True):
        total = sum(loss(*pair).item() for pair in zip(outputs, targets, strict=True))
        assert total == pytest.approx(share * float(case[f'out/loss_{key}']), rel=rel)


@pytest.mark.vectors
def test_losses_at_four_scales(vector):
    case = vector('rsst', 'loss')
    label = case.tensor('in/label')
    outputs = [case.tensor(f'in/pred{k}').requires_grad_() for k in range(4)]
    targets = targets_of(outputs, label)
    assert targets[3] is label
    charbonnier, fft = build_loss(LOSSES).losses.values()
    for k, (output, target) in enumerate(zip(outputs, targets, strict=True)):
        if k < 3:
            torch.testing.assert_close(target, case.tensor(f'out/target{k}'))
        assert charbonnier(output, target).item() == pytest.approx(float(case[f'out/charbonnier{k}']), rel=1e-4)
        assert fft(output, target).item() == pytest.approx(0.1 * float(case[f'out/fft{k}']), rel=1e-4)
    total = loss_of(outputs, label)
    assert total.item() == pytest.approx(float(case['out/loss_total']), rel=1e-4)
    assert_parts(case, outputs, targets, rel=1e-4)
    total.backward()
    for k, output in enumerate(outputs):
        # This file holds every gradient twice over, as if two backward passes had added up: half of it is the
        # derivative of its own scalars, and the gradients of train_gradients_c4 agree without a factor.
        torch.testing.assert_close(output.grad, case.tensor(f'out/grad{k}') / 2, rtol=1e-3, atol=1e-6)


def test_targets_that_no_output_fits_are_refused():
    gt = torch.rand(1, 3, 30, 40)
    outputs = [torch.rand(1, 3, 4, 8), gt]  # of 32×64 pixels after padding
    with pytest.raises(ShapeError, match=r'4×8 .*30×40'):
        targets_of(outputs, gt)
    with pytest.raises(ShapeError, match='15×10'):
        targets_of([torch.rand(1, 3, 15, 10), gt], gt)


@pytest.mark.vectors
def test_gradients_of_all_parameters(vector):
    case = vector('rsst', 'train_gradients_c4')
    net = network(case).train()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('basicsr.archs.rsst_arch._DROP_SCALE', 0.0)
        outputs, gt = net(case.tensor('in/image')), case.tensor('in/label')
    total = loss_of(outputs, gt)
    assert total.item() == pytest.approx(float(case['out/loss_total']), rel=1e-3)
    assert_parts(case, outputs, targets_of(outputs, gt), rel=1e-3)
    total.backward()
    parameters = dict(net.named_parameters())
    assert list(parameters) == case.meta['param_order']
    norms = torch.stack([p.grad.norm() for p in parameters.values()])
    torch.testing.assert_close(norms.double(), case.tensor('out/grad_norm_per_param'), rtol=1e-2, atol=1e-6)
    assert norms.norm().item() == pytest.approx(float(case['out/total_grad_norm']), rel=1e-3)
    for key in (key for key in case.arrays if key.startswith('out/grad/')):
        expected, own = case.tensor(key), parameters[key.removeprefix('out/grad/')].grad
        assert (own - expected).norm() <= 1e-3 * expected.norm() + 1e-7, key


@pytest.mark.vectors
def test_schedules(vector):
    case = vector('rsst', 'schedules')
    for index in range(4):
        steps_per_epoch, epochs, rate = case[f'in/{index}.cfg'].tolist()
        wanted = dict(zip(case[f'in/{index}.steps'].tolist(), case[f'out/{index}.lr'].tolist(), strict=True))
        optimizer = build_optimizer([torch.zeros(1, requires_grad=True)], {'type': 'Adam', 'lr': rate})
        scheduler = build_scheduler(optimizer, {'type': 'WarmupCosineLR'}, int(steps_per_epoch * epochs))
        optimizer.step()
        for step, expected in wanted.items():
            scheduler.last_epoch = step - 1
            advance(optimizer, scheduler if step else None, step + 1)
            assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6, abs=1e-12), (index, step)
        depths, share = case[f'in/dp{index}.depths'].tolist(), float(case[f'in/dp{index}.rate'])
        assert drop_path_rates(depths, share) == pytest.approx(case[f'out/dp{index}.probs'].tolist(), rel=1e-6)


def test_the_published_configuration():
    with torch.device('meta'):
        net = build_network(PUBLISHED)
    assert sum(p.numel() for p in net.parameters()) == 11_340_748
    assert len(net.state_dict()) == 466
    rates = [block.drop_path for name, block in net.named_modules() if name.rsplit('.', 1)[0].endswith('blocks')]
    assert np.allclose(rates, [*np.linspace(0, 0.1, 8), *np.linspace(0.1, 0, 8)], atol=1e-7)
    for more, parameters, tensors in (
        ({'win_size': [8, 8]}, 11_341_228, 466),
        ({'win_size': [8, 8], 'trans_type': 'LeWin'}, 8_494_508, 370),
    ):
        with torch.device('meta'):
            other = build_network({**PUBLISHED, **more})
        assert (sum(p.numel() for p in other.parameters()), len(other.state_dict())) == (parameters, tensors)


def test_a_published_file_loads(tmp_path):
    torch.manual_seed(0)
    net, other = build_network(TINY).eval(), build_network(TINY).eval()
    state = {f'module.{key}': value for key, value in net.state_dict().items()}
    torch.save({'model': state, 'best_psnr': np.float64(30.1), 'best_monitored_epoch': 3}, tmp_path / 'checkpoint.ckpt')
    load_weights(other, read_weights(tmp_path / 'checkpoint.ckpt', 'model'))
    x = torch.rand(1, 3, 20, 30)
    assert torch.equal(net(x)[-1], other(x)[-1])


def test_stochastic_depth_drops_samples_in_training_and_keeps_the_mean():
    torch.manual_seed(0)
    block = BLOCKS['rsst'](8, 2, [2, 4], drop_path=0.25).train()
    dropped = block._dropped(torch.ones(4000, 2, 2, 8))
    values = dropped.flatten(1)
    assert ((values == values[:, :1]).all(1)).all()
    assert sorted(values.unique().tolist()) == pytest.approx([0, 4 / 3])
    assert float(values.mean()) == pytest.approx(1, abs=0.04)
    assert torch.equal(block.eval()._dropped(torch.ones(3, 2, 2, 8)), torch.ones(3, 2, 2, 8))


@pytest.mark.parametrize('name', ['attn_drop', 'proj_drop'])
def test_dropout_of_attention_is_for_training_alone(name):
    torch.manual_seed(0)
    attention = WindowAttention(8, (2, 4), 2, **{name: 0.5})
    plain = WindowAttention(8, (2, 4), 2)
    plain.load_state_dict(attention.state_dict())
    x = torch.rand(1, 3, 8, 8)
    assert not torch.allclose(attention.train()(x), plain(x))
    assert torch.equal(attention.eval()(x), plain(x))


def test_a_given_scale_of_the_queries_and_projections_without_bias():
    torch.manual_seed(0)
    attention = WindowAttention(8, (2, 4), 2, qk_scale=0.0, qkv_bias=False)
    assert {key for key in attention.state_dict() if key.startswith('qkv')} == {'qkv.to_q.weight', 'qkv.to_kv.weight'}
    torch.nn.init.zeros_(attention.relative_position_bias_table)
    result = attention(torch.rand(1, 3, 8, 8))
    torch.testing.assert_close(result, result[:, :, :1].expand_as(result))  # every token gets the mean of all


def test_with_zeros_in_the_last_layers_an_untrained_network_is_the_identity():
    lq = torch.rand(2, 3, 40, 60)
    net = build_network({'type': 'RSST', 'base_channel': 4, 'win_size': [2, 2], 'zero_init': True}).eval()
    assert torch.equal(net(lq)[-1], lq)
    other = build_network({'type': 'RSST', 'base_channel': 4, 'win_size': [2, 2]}).eval()
    assert (other(lq)[-1] - lq).abs().max() > 1e-3


def test_the_padding_of_the_first_image_counts_for_all():
    torch.manual_seed(0)
    block = BLOCKS['rsst'](8, 2, [2, 4]).eval()
    torch.nn.init.normal_(block.attn.relative_position_bias_table)
    x = torch.rand(2, 8, 8, 8)
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, :3], masks[1, :, :, 5:] = 1, 1
    assert torch.equal(block(x, masks), block(x, masks[:1]))
    torch.testing.assert_close(block(x, masks)[1:], block(x[1:], masks[:1]))
    assert not torch.allclose(block(x, masks), block(x, masks[1:]))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'depths': [1, 1]}, 'need 8 numbers'),
        ({'num_heads': [3, 2, 4, 8, 8, 4, 2, 1]}, 'num_heads 3 .*4 '),
        ({'depths': [1, 1, 1, 1, 2, 1, 1, 1]}, 'decoder .*5 .*encoder 4'),
        ({'trans_type': 'LeWin'}, r"'LeWin' .*\[2, 4\]"),
        ({'trans_type': 'my'}, 'trans_type: expected'),
        ({'token_projection': 'linear_cat'}, 'token_projection: expected'),
        ({'se_layer': True}, 'se_layer .*16 .*4'),
        ({'drop_path_rate': 1.0}, 'drop_path_rate: expected'),
        ({'win_size': [0, 4]}, 'win_size'),
        ({'base_channel': 2}, 'base_channel .*3'),
    ],
)
def test_arguments_that_cannot_work_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        build_network({**TINY, **arguments})


def test_sizes_that_windows_do_not_divide_are_refused_without_padding():
    net = build_network(TINY).eval()
    with pytest.raises(ShapeError, match=r'windows .*2×4'):
        net.scales(torch.rand(1, 3, 24, 40))
    assert net(torch.rand(1, 3, 24, 40))[-1].shape == (1, 3, 24, 40)
    square = build_network({**TINY, 'trans_type': 'LeWin', 'win_size': [4, 4]})
    with pytest.raises(ShapeError, match=r'windows .*4×4'):  # smaller than a window
        square.scales(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize(('height', 'width'), [(8, 8), (7, 12), (6, 9), (1, 4), (5, 1), (2, 2)])
def test_the_spectrum_of_a_block_is_that_of_a_real_map(height, width, monkeypatch):
    """cuFFT and CPUs make the same of it then; what CPUs made of it before stays but for rounding."""
    seen, inverse = [], torch.fft.irfft2
    monkeypatch.setattr(torch.fft, 'irfft2', lambda spectrum, s: seen.append(spectrum) or inverse(spectrum, s=s))
    torch.manual_seed(0)
    block = BLOCKS['rsst'](4, num_heads=1, win_size=(4, 4)).double()
    x = torch.randn(2, height, width, 4, dtype=torch.float64, requires_grad=True)
    output = block._beside(x)
    (spectrum,) = seen
    whole = torch.zeros(2, 4, height, width, dtype=torch.complex128)  # as its definition completes it
    rows, columns = (-torch.arange(height)) % height, width - torch.arange(width // 2 + 1, width)
    whole[..., : width // 2 + 1] = spectrum
    whole[..., width // 2 + 1 :] = spectrum[..., rows, :][..., columns].conj()
    torch.testing.assert_close(whole, whole[..., rows, :][..., (-torch.arange(width)) % width].conj())
    real = torch.fft.ifft2(whole)
    assert real.imag.abs().max() < 1e-12
    torch.testing.assert_close(output, real.real.permute(0, 2, 3, 1))
    assert torch.autograd.gradcheck(block._beside, x, fast_mode=True)
    del seen[1:]
    monkeypatch.setattr('basicsr.archs.rsst_blocks._of_real_map', lambda parts, width: parts)
    torch.testing.assert_close(block._beside(x), output)  # a CPU's own way
    assert not torch.equal(seen[0], seen[1])


def test_attention_of_many_windows_is_done_in_parts(monkeypatch):
    """Kernels of GPUs take at most 65535 at once up to torch 2.7."""
    torch.manual_seed(0)
    attention = WindowAttention(8, (2, 2), num_heads=2).eval()
    tokens = torch.randn(3, 11, 4, 8)
    forbidden = torch.tensor([2, 5]), torch.randn(2, 4, 4)
    whole = attention(tokens), attention(tokens, forbidden=forbidden)
    sizes, original = [], F.scaled_dot_product_attention

    def attend(queries, *arguments, **more):
        sizes.append(len(queries))
        return original(queries, *arguments, **more)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', attend)
    assert rsst_attention.WINDOWS_AT_ONCE == 65535
    monkeypatch.setattr(rsst_attention, 'WINDOWS_AT_ONCE', 10)
    assert torch.equal(attention(tokens), whole[0])
    assert sizes == [10, 10, 10, 3]
    assert torch.equal(attention(tokens, forbidden=forbidden), whole[1])
    assert max(sizes) == 10
