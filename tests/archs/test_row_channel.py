"""The number of each row as input: without it, networks are as before; with it, tiles continue the count."""

from __future__ import annotations

import pytest
import torch

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of, for_tiles, restored
from basicsr.archs.row_channel import row_numbers
from basicsr.inference.tiling import Grid, restore_grid, restore_tiled
from basicsr.weights.files import load_weights, read_weights, save_weights
from tests.helpers.small_networks import SMALL

BLOCKS = {'depths': [1, 1, 1, 1, 1, 1, 1, 1]}
RSST = {'type': 'RSST', **SMALL['RSST'], **BLOCKS}
NAFNET = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1], 'middle_blk_num': 0}


def net_of(block, **more):
    torch.manual_seed(0)
    net = build_network({**block, **more}).eval()
    for parameter in net.parameters():
        if parameter.std() == 0:  # beta and gamma of NAFNet: its blocks would be the identity
            torch.nn.init.normal_(parameter, std=0.2)
    return net


def test_rows_are_counted_from_the_top_of_the_padded_image():
    x = torch.zeros(2, 3, 5, 4)
    assert torch.equal(row_numbers(x)[1, 0], torch.arange(5.0)[:, None].expand(5, 4))
    first = torch.tensor([7.0, -2.0]).view(2, 1, 1, 1)
    assert row_numbers(x, first, 2)[:, 0, :, 0].tolist() == [[3.5, 4, 4.5, 5, 5.5], [-1, -0.5, 0, 0.5, 1]]


@pytest.mark.parametrize(('block', 'default'), [(RSST, True), (NAFNET, False)])
def test_the_default_and_its_opposite(block, default):
    plain, other = net_of(block), net_of(block, row_channel=not default)
    assert contract_of(plain).row_channel is default and contract_of(other).row_channel is not default
    assert contract_of(plain).in_channels == contract_of(other).in_channels == 3
    assert torch.equal(net_of(block, row_channel=default).state_dict()[first(plain)], plain.state_dict()[first(plain)])
    wide, narrow = (plain, other) if default else (other, plain)
    key = first(plain)
    assert wide.state_dict()[key].shape[1] == narrow.state_dict()[key].shape[1] + 1
    x = torch.rand(1, 3, 37, 50)
    shifted = torch.tensor(9.0).view(1, 1, 1, 1)
    assert not torch.allclose(restored(wide(x)), restored(wide(x, first_row=shifted)))
    assert torch.equal(restored(narrow(x)), restored(narrow(x, first_row=shifted)))


def first(net):
    return next(key for key in net.state_dict() if key in ('intro.weight', 'in_proj0.main.0.weight'))


def test_the_unit_divides_the_numbers():
    net, scaled = net_of(RSST), net_of(RSST, row_unit=4.0)
    x = torch.rand(1, 3, 16, 32)
    with torch.no_grad():
        assert not torch.allclose(net(x)[-1], scaled(x)[-1])
        for name, weight in scaled.named_parameters():
            if name == 'in_proj0.main.0.weight' or name in [f'in_proj{k}.main.0.main.0.weight' for k in (1, 2, 3)]:
                weight[:, 3] *= 4
            elif name in [f'in_proj{k}.conv.main.0.weight' for k in (1, 2, 3)]:
                weight[:, 3] *= 4  # the level's input is among its channels
        torch.testing.assert_close(net(x)[-1], scaled(x)[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('block', [{**RSST, 'base_channel': 8}, {**NAFNET, 'row_channel': True}])
def test_a_tile_is_told_its_place(block):
    """A network that adds the row number to the image shows which numbers its tiles get."""
    net = net_of(block)
    x = torch.rand(1, 3, 90, 40)
    whole, restore, rule = for_tiles(net, x, None, padded=True)
    top = rule.offset(*whole.shape[-2:], 90, 40)[0]
    assert whole[0, 3, :, 0].tolist() == list(range(whole.shape[-2]))
    assert for_tiles(net, x, None, padded=False)[0][0, 3, :, 0].tolist() == list(range(top, top + 90))
    tile = whole[..., 32:64, :]
    expected = net(tile[:, :3], first_row=torch.full((1, 1, 1, 1), 32.0))
    torch.testing.assert_close(restored(restore(tile)), restored(expected))
    torch.testing.assert_close(restored(restore(torch.cat([whole[..., :32, :], tile])))[1:], restored(expected))


def test_tiles_of_a_network_with_a_finite_field_equal_the_whole_image():
    net = net_of({**NAFNET, 'row_channel': True})
    for block in [*net.encoders[0], *net.decoders[0]]:
        block.sca = torch.nn.Identity()  # the only part that sees the whole image
    x = torch.rand(1, 3, 240, 60)
    whole = net(x)
    torch.testing.assert_close(restore_tiled(net, x, None, 128), whole, rtol=1e-4, atol=1e-5)
    # tiles that restart the count are wrong further down
    plain = torch.cat([net(x[..., :128, :])[..., :96, :], net(x[..., 64:192, :])[..., 32:, :]], 2)
    assert (plain - whole[..., :192, :]).abs().max() > 1e-2
    assert restore_grid(net, x, None, Grid(128, 60)).shape == x.shape


def test_tiles_of_a_network_behind_a_mask_prior_equal_the_whole_image():
    net = net_of({'type': 'SAMDeblur', 'backbone': {**NAFNET, 'row_channel': True, 'row_unit': 64.0}})
    for block in [*net.backbone.encoders[0], *net.backbone.decoders[0]]:
        block.sca = torch.nn.Identity()  # the only part of the backbone that sees the whole image
    x, labels = torch.rand(1, 3, 241, 60), torch.randint(0, 5, (1, 1, 241, 60))
    whole = net(x, labels)
    torch.testing.assert_close(restore_tiled(net, x, labels, 128), whole, rtol=1e-4, atol=1e-5)
    restarted = net.restore_with_prior(net.with_prior(x, labels)[..., 112:, :])[..., 64:120, :]
    assert (restarted - whole[..., 176:232, :]).abs().max() > 1e-2
    assert restore_grid(net, x, labels, Grid(128, 60)).shape == x.shape


def test_padding_of_tiles_behind_a_mask_prior_is_counted_too():
    net = net_of({'type': 'SAMDeblur', 'backbone': {**RSST, 'base_channel': 8}})
    x, labels = torch.rand(1, 3, 90, 40), torch.randint(0, 5, (1, 1, 90, 40))
    whole, restore, rule = for_tiles(net, x, labels, padded=True)
    top = rule.offset(*whole.shape[-2:], 90, 40)[0]
    assert top > 0 and whole[0, -1, :, 0].tolist() == list(range(whole.shape[-2]))
    part, restore, _ = for_tiles(net, x, labels, padded=False)
    assert part[0, -1, :, 0].tolist() == list(range(top, top + 90))
    once = net.restore_with_prior(net.with_prior(x, labels))  # pads by itself and counts from the padding on
    torch.testing.assert_close(restored(restore(part)), restored(once))


@pytest.mark.parametrize('block', [{**RSST, 'row_channel': False}, {**NAFNET, 'row_channel': True, 'row_unit': 64.0}])
def test_a_file_of_the_project_knows_its_rows(block, tmp_path):
    net = net_of(block)
    save_weights(tmp_path / 'net.pth', net)
    weights = read_weights(tmp_path / 'net.pth')
    assert {key: weights.network[key] for key in block} == block
    other = build_network(weights.network).eval()
    load_weights(other, weights)
    x = torch.rand(1, 3, 20, 30)
    assert torch.equal(restored(net(x)), restored(other(x)))
