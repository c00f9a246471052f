"""Networks are recognised by their parameters, wherever in a file these are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from basicsr.archs import ARCH_REGISTRY, build_network
from basicsr.interchange.recognising import described_network, network_of
from basicsr.options import load_options
from basicsr.utils.errors import ArgumentError, UnsafeWeightsError, WeightsError
from basicsr.weights.files import load_weights, read_any_weights, save_weights
from tests.helpers.project import ROOT, find_vector
from tests.helpers.small_networks import SMALL, inputs, result_of, small
from tests.helpers.tiny_pairs import TINY_ANALYSIS, TINY_SYNTHESIS
from tests.helpers.weight_files import Payload

LAKD = SMALL['LaKDNet']
RSST = SMALL['RSST']
VARIANTS = [
    ('NAFNet', {'mask': True}, 4),
    ('NAFNet', {'prior_channels': 2}, 5),
    ('NAFNet', {'img_channel': 1, 'middle_blk_num': 0, 'enc_blk_nums': [2, 0, 1], 'dec_blk_nums': [0, 3, 1]}, 1),
    ('NAFNet', {'enc_blk_nums': [], 'dec_blk_nums': [], 'middle_blk_num': 2}, 3),
    ('SegNAFNet', {'seg_channel': 2, 'enc_blk_nums': [1, 2], 'dec_blk_nums': [2, 1]}, 3),
    ('PlainUNet', {'levels': 0, 'img_channel': 1}, 1),
    ('PlainUNet', {'levels': 3, 'prior_channels': 1}, 4),
    ('PhotoUNet', {'blocks': [1, 3, 2], 'img_channel': 1}, 1),
    ('PhotoUNet', {'width': 6, 'prior_channels': 2}, 5),
    ('LaKDNet', {'inp_channels': 9, 'dual_pixel_task': True, 'LayerNorm_type': 'BiasFree'}, 9),
    ('LaKDNet', {'bias': True, 'num_blocks': [1, 0, 2, 1], 'mix_kernel_size': [9, 7, 3, 5], 'prior_channels': 2}, 5),
    ('LaKDNet', {'dim': 6, 'ffn_expansion_factor': 1.7}, 3),
    ('LaKDNet', {'num_blocks': [0, 0, 0, 0], 'mix_kernel_size': [7, 7, 7, 7]}, 3),
    ('RSST', {'win_size': [4, 16], 'base_channel': 8, 'token_projection': 'linear_concat'}, 3),
    ('RSST', {'win_size': [4, 4], 'token_mlp': 'ffn', 'qkv_bias': False, 'mlp_ratio': 2.5, 'prior_channels': 1}, 4),
    ('RSST', {'trans_type': 'LeWin', 'win_size': [4, 4], 'base_channel': 16, 'se_layer': True}, 3),
    ('RSST', {'row_channel': False}, 3),
    ('RSST', {'row_channel': False, 'prior_channels': 2}, 5),
    ('RSST', {'num_heads': [2, 4, 4, 2, 1, 2, 4, 2], 'depths': [1, 2, 1, 1, 0, 1, 2, 1]}, 3),
]


def assert_recognised(net: torch.nn.Module, *data: torch.Tensor) -> dict[str, Any]:
    block = network_of(net.state_dict())
    rebuilt = build_network(block).eval()
    rebuilt.load_state_dict(net.state_dict(), strict=True)
    with torch.inference_mode():
        expected, result = (result_of(one(*data)) for one in (net, rebuilt))
    assert torch.equal(result, expected)
    return block


@pytest.mark.parametrize('name', SMALL)
def test_every_registered_network_is_rebuilt_from_its_parameters(name):
    plain = {'NAFNetLocal': 'NAFNet', 'SegNAFNetLocal': 'SegNAFNet'}.get(name, name)
    net = small(name)
    data = inputs(name, 16, 21, batch=1)
    if name == 'AnalysisNet':  # the size of its kernel leaves no trace
        block = network_of(net.state_dict())
        assert block == {key: value for key, value in TINY_ANALYSIS.items() if key != 'max_kernel_size'} | {
            'is_add_flips': True,
            'n_downsample_features': 1,
            'downsample_filter_size': 5,
            'upsample_filter_size': 5,
            'filter_size_after_cc': 3,
        }
        return
    assert assert_recognised(net, *data)['type'] == plain
    assert set(SMALL) == set(ARCH_REGISTRY.names())


@pytest.mark.parametrize(('name', 'more', 'channels'), VARIANTS, ids=lambda value: str(value)[:50])
def test_other_configurations(name, more, channels):
    net = small(name, **more)
    torch.manual_seed(2)
    data: tuple[torch.Tensor, ...] = (torch.rand(1, channels, 19, 23),)
    if name == 'SegNAFNet':
        data = (*data, torch.randint(0, 5, (1, 1, 19, 23)))
    block = assert_recognised(net, *data)
    unseen = ('clip_output', 'mask_dropout')
    same = {key: block.get(key, 0) == value for key, value in more.items() if key not in unseen}
    if name == 'LaKDNet':
        same.pop('ffn_expansion_factor', None)  # several give the same numbers of channels
        same.pop('mix_kernel_size', None) if 0 in more.get('num_blocks', []) else None
    if name == 'RSST':
        same.pop('num_heads', None) if 0 in more.get('depths', []) else None
    assert all(same.values()), (same, block)


@pytest.mark.parametrize(
    'backbone',
    [
        {'type': 'NAFNetLocal', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1]},
        {'type': 'PlainUNet', 'width': 4, 'levels': 1},
        {'type': 'LaKDNet', **LAKD},
        {'type': 'LaKDNet', **LAKD, 'inp_channels': 9, 'dual_pixel_task': True},
        {'type': 'RSST', **RSST},
        {'type': 'AnalysisSynthesisNet', 'analysis': TINY_ANALYSIS, 'synthesis': TINY_SYNTHESIS},
    ],
    ids=lambda block: block['type'],
)
@pytest.mark.parametrize('channels', [1, 3])
def test_a_backbone_behind_the_mask_prior(backbone, channels):
    torch.manual_seed(0)
    net = build_network({'type': 'SAMDeblur', 'backbone': backbone, 'prior_channels': channels}).eval()
    lq = torch.rand(1, net.img_channel, 17, 22)
    block = assert_recognised(net, lq, torch.randint(0, 4, (1, 1, 17, 22)))
    assert block['type'] == 'SAMDeblur' and block['prior_channels'] == channels
    assert block['backbone']['type'] == backbone['type'].replace('Local', '')
    assert 'prior_channels' not in block['backbone']


SYNTHESES = [
    {'n_levels': 0, 'max_kernel_size': [3, 5]},
    {'downsample_feature_multiplier': 2, 'upsample_filter_size': 3, 'downsample_filter_size': 5},
    {'use_additive_biases': False, 'dense_block_size': 0, 'conv_block_size': 2},
    {'use_multiplitive_biases': False, 'guide_before_conv': True, 'conv_block_filter_size': 5},
]


@pytest.mark.parametrize('more', SYNTHESES, ids=str)
def test_other_synthesis_networks(more):
    net = build_network({**TINY_SYNTHESIS, **more}).eval()
    kernel = torch.rand(1, *net.kernel_size)
    block = assert_recognised(net, torch.rand(1, 3, 18, 21) * 255, kernel)
    assert {key: block[key] for key in more} == more


def test_what_a_synthesis_without_guidance_cannot_say():
    net = build_network({**TINY_SYNTHESIS, 'use_additive_biases': False, 'use_multiplitive_biases': False})
    assert network_of(net.state_dict())['max_kernel_size'] == [7, 9]


@pytest.mark.parametrize(
    'more',
    [
        {'n_levels': 1, 'n_conv_filters_before_output': []},
        {'n_levels': 3, 'n_downsample_features': 2, 'downsample_filter_size': 3, 'upsample_filter_size': 3},
        {'is_add_flips': False, 'filter_size_after_cc': 5, 'n_conv_filters_before_output': [4, 3]},
        {'conv_block_size': 0},
    ],
    ids=str,
)
def test_other_analysis_networks_inside_the_pair(more):
    analysis = {**TINY_ANALYSIS, **more}
    net = build_network({'type': 'AnalysisSynthesisNet', 'analysis': analysis, 'synthesis': TINY_SYNTHESIS}).eval()
    lq = torch.rand(1, 3, *net.input_rule.minimum)
    found = assert_recognised(net, lq)['analysis']
    assert {key: found[key] for key in analysis if key in found} == {k: v for k, v in analysis.items() if k in found}


UNTOLD = (
    'train_size', 'fast_imp', 'mask_dropout', 'mask_value', 'clip_output', 'drop_path_rate', 'row_unit', 'zero_init'
)  # fmt: skip


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'options/test').glob('[!_]*/*.yml')), ids=lambda p: f'{p.parent.name}-{p.stem}'
)
def test_the_networks_of_all_option_files(path):
    """Published sizes, without numbers: the arguments that are found are those of the file."""
    wanted = load_options(path).network_g.as_dict()
    with torch.device('meta'):
        block = network_of(build_network(wanted).state_dict())
    wanted = _told(wanted)
    assert block.pop('type') == wanted.pop('type')
    if wanted.get('row_channel') and 'mask' in block:  # NAFNet: one more channel is taken for the gray mask
        assert block.pop('mask') is wanted.pop('row_channel')
    if 'prior_channels' not in block:
        assert wanted.pop('prior_channels', 0) == 0
    assert _chosen(block, wanted) == _as_list(wanted)


def _told(wanted: dict[str, Any]) -> dict[str, Any]:
    """What parameters tell of these arguments, and of those of nested networks."""
    told = {
        key: _told(value) if isinstance(value, dict) else value for key, value in wanted.items() if key not in UNTOLD
    }
    return {**told, 'type': told['type'].replace('Local', '')} if 'type' in told else told


def _chosen(found: Any, wanted: Any) -> Any:
    """The arguments that a file names, in nested networks as well."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: _chosen(found.get(key), value) for key, value in wanted.items()}
    return _as_list(found)


def _as_list(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_list(item) for key, item in value.items()}
    return list(value) if isinstance(value, (list, tuple)) else value


def test_the_official_lists_of_parameters():
    for name, about in json.loads(find_vector('nafnet', 'official_state_dict_shapes.json').read_text()).items():
        rows = about['state_dict']
        pairs = rows.items() if isinstance(rows, dict) else rows
        block = network_of({key: torch.empty(shape, device='meta') for key, shape in pairs})
        assert {key: block[key] for key in about['kwargs']} == about['kwargs']
        assert block['type'] == ('SegNAFNet' if name.startswith('Seg') else 'NAFNet')
        assert block.get('mask', False) == name.startswith('Mask')


def test_the_published_window_and_the_likely_ones():
    for window in ([4, 16], [8, 8], [2, 4], [4, 8], [8, 16], [4, 4], [2, 2], [8, 32], [5, 7]):
        with torch.device('meta'):
            net = build_network({'type': 'RSST', **RSST, 'win_size': window})
        assert network_of(net.state_dict())['win_size'] == window


def changed(change) -> dict[str, torch.Tensor]:
    state = small('NAFNet').state_dict()
    change(state)
    return state


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        ({}, r'parameters\b.*\bnone\b'),
        ({'body.0.weight': torch.ones(1)}, r'parameters body\.0\.weight \(1 in all\)'),
        (changed(lambda s: s.pop('ending.bias')), r'NAFNet.* missing: ending\.bias'),
        (changed(lambda s: s.update(more=torch.ones(1))), 'unexpected: more'),
        (
            changed(lambda s: s.update({'ups.0.0.weight': torch.ones(1, 1, 1, 1)})),
            r'ups\.0\.0\.weight .*\(1, 1, 1, 1\)',
        ),
        (changed(lambda s: s.update({'intro.weight': torch.ones(3)})), r'intro\.weight .*\(3,\)'),
        (changed(lambda s: s.update({'ending.weight': torch.ones(9, 1, 3, 3)})), 'NAFNet.*prior_channels'),
        ({'pre_seg.weight': torch.ones(2, 3, 3, 3)}, r'parameters\b.*\bnone\b'),
        (
            {'in_proj0.main.0.weight': torch.ones(0, 4, 3, 3), 'out_proj3.main.0.weight': torch.ones(1)},
            'RSST',
        ),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else '',
)
def test_what_is_not_known_is_named(state, message):
    with pytest.raises(WeightsError, match=message):
        network_of(state)


WRAPPERS = {
    'params': lambda s: {'params': s, 'iter': 3},
    'averages alone': lambda s: {'params_ema': s},
    'rsst': lambda s: {'model': {f'module.{key}': value for key, value in s.items()}, 'best_psnr': 30.0},
    'state_dict': lambda s: {'state_dict': s, 'epoch': 1},
    'bare': lambda s: dict(s),
    'bare, from DataParallel': lambda s: {f'module.{key}': value for key, value in s.items()},
    'a name of its own': lambda s: {'deblur': s, 'optimizer': {'lr': 1e-3}},
    'with averages': lambda s: {'params_ema': {key: value + 1 for key, value in s.items()}, 'params': s},
}


@pytest.mark.parametrize('wrapper', WRAPPERS)
@pytest.mark.parametrize('name', ['NAFNet', 'LaKDNet', 'RSST'])
def test_parameters_are_found_in_any_wrapper(name, wrapper, tmp_path):
    net = small(name)
    torch.save(WRAPPERS[wrapper](net.state_dict()), tmp_path / 'net.pth')
    weights = read_any_weights(tmp_path / 'net.pth')
    assert weights.network is None
    rebuilt = build_network(network_of(weights.state))
    load_weights(rebuilt, weights)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in rebuilt.state_dict().items())


def test_ours_say_what_they_are_and_averages_are_given_on_demand(tmp_path):
    net = small('SegNAFNet', mask_value=0.5)
    averages = {key: value + 1 for key, value in net.state_dict().items()}
    save_weights(tmp_path / 'net.pth', net, params_ema=averages)
    weights = read_any_weights(tmp_path / 'net.pth')
    assert weights.network == net.options and weights.mask_value == 0.5
    assert torch.equal(weights.state['intro.bias'], net.intro.bias)
    weights = read_any_weights(tmp_path / 'net.pth', averages=True)
    assert weights.network == net.options and weights.mask_value == 0.5
    assert torch.equal(weights.state['intro.bias'], averages['intro.bias'])
    save_weights(tmp_path / 'plain.pth', net)
    with pytest.raises(WeightsError, match=r"plain\.pth .*'params_ema'"):
        read_any_weights(tmp_path / 'plain.pth', averages=True)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2], r'net\.pth .*\blist\b'),
        ({}, r'net\.pth .*parameters.*nothing'),
        ({'epoch': 3, 'name': 'x'}, r'net\.pth .*parameters.*epoch, name'),
        ({'a': {'w': torch.ones(1)}, 'b': {'w': torch.ones(1)}}, r'net\.pth .*parameters \(a, b\)'),
        ({'params': {'w': 3}}, r'net\.pth .*parameters.*params'),
    ],
    ids=str,
)
def test_files_without_parameters_are_named(content, message, tmp_path):
    torch.save(content, tmp_path / 'net.pth')
    with pytest.raises(WeightsError, match=message):
        read_any_weights(tmp_path / 'net.pth')


def test_a_file_with_code_is_refused(tmp_path):
    torch.save({'params': {}, 'extra': Payload(str(tmp_path / 'made'))}, tmp_path / 'evil.pth')
    with pytest.raises(UnsafeWeightsError):
        read_any_weights(tmp_path / 'evil.pth')
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize(
    'block',
    [
        {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [10**9], 'dec_blk_nums': [1]},
        {'type': 'PlainUNet', 'width': 4, 'levels': 10**9},
    ],
)
def test_a_network_without_end_is_not_built(block):
    with pytest.raises((RuntimeError, OverflowError, ArgumentError)):
        described_network(block, 20)


@pytest.mark.parametrize('name', SMALL)
def test_the_limit_of_modules_is_far_from_networks(name):
    block = {'type': name, **SMALL[name]}
    net = build_network(block)
    assert sum(1 for _ in net.modules()) < 4 * len(net.state_dict())
    described_network(block, len(net.state_dict()))
