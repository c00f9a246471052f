"""Building networks: what is refused, and what is kept of the options."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.options import load_options
from basicsr.utils.errors import ArgumentError, MaskError, ShapeError, UnknownNameError
from tests.helpers.small_networks import LEVELS, MASK_GUIDED, SMALL, inputs, small


@pytest.mark.parametrize('name', SMALL)
def test_wrong_images_are_refused(name):
    net = small(name)
    _, *masks = inputs(name, 8, 8)
    with pytest.raises(ShapeError, match=r'\(B, 3, H, W\).*\(2, 4, 8, 8\)'):
        net(torch.rand(2, 4, 8, 8), *masks)
    with pytest.raises(ShapeError, match=r'torch\.uint8'):
        net(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), *masks)
    with pytest.raises(ShapeError, match=r'≥ 1.*\(2, 3, 0, 8\)'):
        net(torch.rand(2, 3, 0, 8), *masks)


@pytest.mark.parametrize('name', MASK_GUIDED)
def test_masks_are_checked_against_the_unpadded_image(name):
    with pytest.raises(MaskError, match=r'\(20, 12\).*\(17, 9\)'):
        small(name)(torch.rand(2, 3, 17, 9), torch.ones(2, 1, 20, 12, dtype=torch.uint8))


def test_build_network_says_all_that_is_wrong_at_once():
    with pytest.raises(UnknownNameError, match=r"'NAFNett'.*'NAFNet'"):
        build_network({'type': 'NAFNett'})
    with pytest.raises(ArgumentError) as error:
        build_network({'type': 'NAFNet', 'widht': 32, 'middle_blk_num': 'one', 'enc_blk_nums': [1, 'x']})
    assert "'width'" in str(error.value)
    assert 'middle_blk_num: ' in str(error.value)
    assert 'enc_blk_nums.1: ' in str(error.value)
    with pytest.raises(ArgumentError, match=r'enc_blk_nums .*1 .*dec_blk_nums .*0'):
        build_network({'type': 'NAFNet', 'enc_blk_nums': [1], 'dec_blk_nums': []})
    with pytest.raises(ArgumentError, match=r"backbone\.widht: .*PlainUNet.*'width'"):
        build_network({'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'widht': 4}})
    with pytest.raises(ArgumentError, match=r'prior_channels .*backbone'):
        build_network({'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'prior_channels': 1}})
    with pytest.raises(ArgumentError, match='train_size'):
        build_network({'type': 'NAFNetLocal', 'train_size': [256, 256]})


@pytest.mark.parametrize(
    ('type_', 'argument', 'message'),
    [
        ('NAFNet', {'width': 0}, r'width: .*\b1\b.*\b0\b'),
        ('NAFNet', {'width': -4}, 'width: .* got -4'),
        ('NAFNet', {'middle_blk_num': -1}, 'middle_blk_num: .* got -1'),
        ('NAFNet', {'enc_blk_nums': [-5], 'dec_blk_nums': [1]}, r'enc_blk_nums\.0: .* got -5'),
        ('NAFNet', {'enc_blk_nums': [1], 'dec_blk_nums': [-5]}, r'dec_blk_nums\.0: .* got -5'),
        ('NAFNet', {'img_channel': 0}, 'img_channel: .* got 0'),
        ('NAFNet', {'prior_channels': -1}, 'prior_channels: .* got -1'),
        ('NAFNetLocal', {'width': 0}, 'width: .* got 0'),
        ('NAFNetLocal', {'train_size': [1, 3, 0, 256]}, r'train_size\.2: .* got 0'),
        ('SegNAFNet', {'seg_channel': 0}, 'seg_channel: .* got 0'),
        ('SegNAFNet', {'mask_dropout': 1.5}, r'mask_dropout: .* got 1\.5'),
        ('SegNAFNetLocal', {'seg_channel': 0}, 'seg_channel: .* got 0'),
        ('SAMDeblur', {'backbone': {'type': 'NAFNet'}, 'mask_dropout': -0.1}, r'mask_dropout: .* got -0\.1'),
        ('SAMDeblur', {'backbone': {'type': 'NAFNet', 'width': 0}}, r'backbone\.width: .* got 0'),
        ('PlainUNet', {'levels': -1}, 'levels: .* got -1'),
    ],
)
def test_arguments_out_of_range_are_refused(type_, argument, message):
    with pytest.raises(ArgumentError, match=f'network {type_}: {message}'):
        build_network({'type': type_, **argument})


@pytest.mark.parametrize(
    ('backbone', 'message'),
    [
        ({'type': 'NAFNet', 'mask': True}, "'NAFNet' .*backbone"),
        ({'type': 'SAMDeblur', 'backbone': {'type': 'NAFNet'}}, "'SAMDeblur' .*backbone"),
        ({'type': 'SegNAFNet'}, "'SegNAFNet' .*backbone"),
        ({}, "backbone: .*'type'"),
        ({'type': 'Nope'}, r"backbone\.type: .*'Nope'"),
        (None, 'backbone: .*mapping'),
    ],
    ids=str,
)
def test_backbones_that_cannot_work_are_refused(backbone, message):
    with pytest.raises(ArgumentError, match=message):
        build_network({'type': 'SAMDeblur', 'backbone': backbone})


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (None, ArgumentError, "'type'.*None"),
        ('NAFNet', ArgumentError, "'type'.*'NAFNet'"),
        ({'type': ['NAFNet']}, UnknownNameError, r"\['NAFNet'\]"),
    ],
)
def test_what_describes_no_network_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        build_network(options)


def test_build_network_takes_the_block_of_an_option_file(tmp_path):
    (tmp_path / 'net.yml').write_text(
        'name: one\nnetwork_g: {type: PlainUNet, width: 4, levels: 1}\n'
        'datasets: {test: {name: pairs, type: PairedImageDataset, dataroot_gt: gt, dataroot_lq: lq}}\n'
    )
    net = build_network(load_options(tmp_path / 'net.yml').network_g)
    assert net.intro.out_channels == 4
    assert net.options == {'type': 'PlainUNet', 'width': 4, 'levels': 1}


def test_build_network_leaves_its_options_alone_and_remembers_them():
    options = {'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}}
    net = build_network(options)
    assert options == {'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}}
    assert net.options == options
    options['backbone']['width'] = 8
    assert net.options == {'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}}


def test_local_networks_are_built_without_drawing_or_running():
    torch.manual_seed(3)
    build_network({'type': 'NAFNet', **LEVELS})
    expected = torch.rand(1)
    torch.manual_seed(3)
    net = build_network({'type': 'NAFNetLocal', **LEVELS})
    assert torch.equal(torch.rand(1), expected)
    assert net.training


def test_windows_follow_the_padded_training_size():
    """TLC's formula h · base // train, where h belongs to the padded size: 21 × 30 is padded to 24 × 32."""
    net = small('NAFNetLocal', train_size=[1, 3, 21, 30])
    pools = [net.encoders[0][0].sca[0], net.encoders[1][0].sca[0], net.middle_blks[0].sca[0]]
    assert [pool.kernel_size for pool in pools] == [(35, 48), (17, 24), (8, 12)]
    assert [pool.max_reduction for pool in pools] == [(5, 5), (2, 2), (1, 1)]
    assert net.decoders[0][0].sca[0].kernel_size == (17, 24)
    assert net.decoders[1][0].sca[0].kernel_size == (35, 48)


@pytest.mark.parametrize(('size', 'kernel'), [((10, 10), (1, 1)), ((5, 40), (3, 30)), ((40, 5), (30, 3))])
def test_the_fast_form_says_where_nothing_is_left_of_its_grid(size, kernel):
    with pytest.raises(ShapeError, match=f'fast_imp .*{size[0]}×{size[1]}'):
        LocalAvgPool2d(kernel, fast_imp=True)(torch.rand(1, 1, *size))
