"""Tiles give the image back: exactly where the support is finite, without seams where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.input_rule import InputRule
from basicsr.inference import restoring
from basicsr.inference.restoring import FIRST_TILE, LARGEST_TILE, SMALLEST_TILE, restore_image
from basicsr.inference.tiling import RAMP, Grid, least_tile, local_form, restore_grid, restore_tiled
from basicsr.inference.widest import countable, elements_a_pixel
from basicsr.models.image_restoration_model import grid_of
from basicsr.options.schema_train import ValOptions
from basicsr.utils.errors import ArgumentError

pytestmark = pytest.mark.numeric

SMALL = {'width': 8, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1], 'middle_blk_num': 1}


class Numbered(nn.Module):
    """Adds 0.1 for every tile it has seen; remembers their sizes."""

    input_rule = InputRule()
    img_channel = 3

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.batches = []

    def forward(self, lq):
        numbers = torch.arange(self.seen, self.seen + len(lq)).view(-1, 1, 1, 1)
        self.seen += len(lq)
        self.batches.append(tuple(lq.shape))
        return lq + 0.1 * numbers


@pytest.mark.vectors
@pytest.mark.parametrize('most', [None, 1, 4])
def test_grids_of_the_original(vector, most):
    case = vector('sam_deblur', 'grids')
    for number, about in enumerate(case.meta['cases']):
        options = ValOptions(grids=True, max_minibatch=most, **about['val'])
        grid = grid_of(options, about['h'], about['w'])
        windows = grid.windows(about['h'], about['w'])
        assert [[top, left] for top, left, *_ in windows] == about['corners']
        assert [list(window[2:]) for window in windows] == [about['tile']] * len(windows)
        net = Numbered()
        stitched = restore_grid(net, torch.from_numpy(case[f'in/lq{number}']), None, grid)
        np.testing.assert_allclose(stitched.numpy(), case[f'out/stitched{number}'], rtol=1e-6, atol=1e-6)
        assert max(shape[0] for shape in net.batches) == (len(windows) if most is None else min(most, len(windows)))


def random_net(block, seed=0):
    torch.manual_seed(seed)
    net = build_network(block).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * (parameter.std() + 0.05).nan_to_num(0.05))
    return net


def image_and_regions(height, width, seed=1):
    generator = torch.Generator().manual_seed(seed)
    lq = torch.rand(1, 3, height, width, generator=generator)
    coarse = torch.randint(0, 12, (1, 1, height // 20 + 1, width // 20 + 1), generator=generator)
    labels = coarse.repeat_interleave(20, 2).repeat_interleave(20, 3)[..., :height, :width].contiguous()
    return lq, labels


@pytest.mark.parametrize('size', [(149, 203), (96, 400), (131, 64)])
@pytest.mark.parametrize('guided', [False, True])
def test_finite_support_gives_the_whole_image_exactly(size, guided):
    block = {'type': 'PlainUNet', 'width': 8}
    net = random_net({'type': 'SAMDeblur', 'backbone': block} if guided else block).double()
    halo = (net.backbone if guided else net).input_rule.halo
    lq, labels = image_and_regions(*size)
    lq, masks = lq.double(), labels if guided else None
    with torch.inference_mode():
        whole = net(lq, masks) if guided else net(lq)
        tiled = restore_tiled(net, lq, masks, 2 * halo + 60)
    assert whole.std() > 0.01
    torch.testing.assert_close(tiled, whole, atol=1e-10, rtol=0)


def test_a_reach_beyond_the_ramp_leaves_no_gap():
    net = random_net({'type': 'PlainUNet', 'width': 4, 'levels': 3}).double()
    assert net.input_rule.halo > 32
    lq = image_and_regions(240, 96)[0].double()
    with torch.inference_mode():
        torch.testing.assert_close(restore_tiled(net, lq, None, least_tile(net)), net(lq), atol=1e-10, rtol=0)


def test_a_grid_that_fits_exactly_has_no_overlap():
    assert Grid(20, 20).windows(40, 20) == [(0, 0, 20, 20), (20, 0, 20, 20)]


def test_tiles_that_are_too_small_for_the_network_are_refused():
    net = build_network({'type': 'PlainUNet', 'width': 4}).eval()
    least = 2 * net.input_rule.halo + 32
    with pytest.raises(ArgumentError, match=f'{least // 2}'):
        restore_tiled(net, torch.rand(1, 3, 300, 300), None, least // 2)
    with pytest.raises(ArgumentError, match=r'SegNAFNet .*masks'):
        restore_tiled(build_network({'type': 'SegNAFNet', **SMALL}), torch.rand(1, 3, 300, 300), None, 200)


def test_global_pooling_in_tiles_has_no_seams():
    """Where tiles meet, the difference to the whole image changes as smoothly as elsewhere."""
    net = local_form(random_net({'type': 'SegNAFNet', 'seg_channel': 2, **SMALL}, seed=3))
    assert type(net).__name__ == 'SegNAFNetLocal'
    lq, labels = image_and_regions(320, 512)
    lq = nn.functional.avg_pool2d(lq, 9, 1, 4)
    with torch.inference_mode():
        whole, tiled = net(lq, labels), restore_tiled(net, lq, labels, 224)
    error = (tiled - whole)[0]
    assert 0 < error.abs().max() < 0.2 * whole.std()
    steps = (error[..., 1:] - error[..., :-1]).abs().mean((0, 1))  # across each column boundary
    assert steps.max() < 4 * steps.median()
    for axis in (-2, -1):  # nowhere do neighbouring rows or columns differ more than they do untiled
        apart = [image.diff(dim=axis).abs().mean((0, 1, -3 - axis)) for image in (whole, tiled)]
        assert (apart[1] / apart[0]).max() <= 1.1


def test_the_prior_of_a_tile_is_that_of_the_whole_image():
    net = random_net({'type': 'SegNAFNet', 'seg_channel': 2, **SMALL})
    lq, labels = image_and_regions(150, 90)
    with torch.inference_mode():
        both = net.with_prior(lq, labels)
        torch.testing.assert_close(both[:, 3:], net.prior(lq, labels))
        torch.testing.assert_close(both[:, :3], lq)
        torch.testing.assert_close(
            net.restore_with_prior(net.with_prior(lq[..., :64], labels[..., :64])).shape, (1, 3, 150, 64)
        )
        whole = net(lq, labels)
        torch.testing.assert_close(restore_tiled(net, lq, labels, 160), whole)  # one tile is the whole
        one = restore_grid(net, lq[:, :, :144, :80], labels[..., :144, :80], Grid(144, 80))
        torch.testing.assert_close(one, net(lq[:, :, :144, :80], labels[..., :144, :80]))


@pytest.mark.parametrize(
    'block', [{'type': 'NAFNet', **SMALL}, {'type': 'SAMDeblur', 'backbone': {'type': 'NAFNet', **SMALL}}]
)
def test_the_local_form_shares_the_weights(block):
    net = build_network(block).eval()
    local = local_form(net)
    inner = getattr(local, 'backbone', local)
    assert type(inner).__name__ == 'NAFNetLocal' and not local.training
    assert all(a is b for a, b in zip(net.parameters(), local.parameters(), strict=True))
    assert local_form(local) is local
    plain = build_network({'type': 'PlainUNet', 'width': 4})
    assert local_form(plain) is plain


class Hungry(nn.Module):
    """Has memory for so many pixels."""

    input_rule = InputRule(halo=1)
    img_channel = 3

    def __init__(self, pixels, message):
        super().__init__()
        self.pixels, self.message, self.tried = pixels, message, []

    def forward(self, lq):
        self.tried.append(max(lq.shape[-2:]))
        if lq[0, 0].numel() > self.pixels:
            raise RuntimeError(self.message)
        return lq * 2


CPU_FULL = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
)


def halved(tried, limits):
    """Return whether the first tiles were as large as these limits allow: tiles of an image are made equal."""
    return all(0.6 * limit < size <= limit for size, limit in zip(tried[: len(limits)], limits, strict=True))


def test_tiles_get_smaller_until_they_fit():
    lq = torch.rand(1, 3, 1500, 1300)
    net = Hungry(300 * 300, CPU_FULL)
    restored = restore_image(net, lq)
    assert torch.allclose(restored.image, lq * 2) and restored.tile == SMALLEST_TILE
    assert net.tried[0] == 1500 and halved(net.tried, [1500, 750, 375, 256])
    assert restore_image(Hungry(10**9, ''), lq).tile is None
    assert restore_image(Hungry(10**9, ''), lq, tile=400).tile == 400
    with pytest.raises(RuntimeError, match='allocate memory'):
        restore_image(Hungry(100, CPU_FULL), lq)
    with pytest.raises(RuntimeError, match='allocate memory'):
        restore_image(Hungry(300 * 300, CPU_FULL), lq, tile=None)
    with pytest.raises(RuntimeError, match='a bug'):
        restore_image(Hungry(100, 'a bug'), lq)


def test_a_tile_size_that_was_asked_for_gets_smaller_as_well(caplog):
    caplog.set_level('INFO')
    lq, net = torch.rand(1, 3, 900, 1300), Hungry(300 * 300, CPU_FULL)
    restored = restore_image(net, lq, tile=800)
    assert torch.allclose(restored.image, lq * 2) and restored.tile == SMALLEST_TILE
    assert halved(net.tried, [800, 400, 256])
    assert '256' in caplog.text
    small = restore_image(Hungry(10**9, ''), lq, tile=100)
    assert small.tile == 100 and torch.allclose(small.image, lq * 2)


@pytest.mark.slow
def test_tiles_stay_as_large_as_the_reach_of_the_network_asks():
    class FarReaching(Hungry):
        """Depends on many pixels around."""

        input_rule = InputRule((16, 16), halo=500)

    lq = torch.rand(1, 3, 1600, 1600)
    net = FarReaching(1200 * 1200, CPU_FULL)
    restored = restore_image(net, lq)
    assert restored.tile == least_tile(net) == 1072  # twice 512, the ramp, and one step of 16
    assert torch.allclose(restored.image, lq * 2)
    guided = build_network({'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}})
    assert least_tile(guided) == least_tile(guided.backbone) < 200
    assert restore_image(nn.Identity(), lq).tile is None  # says nothing of its input


def test_large_images_are_cut_on_a_cpu():
    lq = torch.rand(1, 3, 2100, 4200)
    net = Hungry(10**9, '')
    restored = restore_image(net, lq)
    torch.testing.assert_close(restored.image, lq * 2)
    assert restored.tile == LARGEST_TILE and FIRST_TILE < max(net.tried) <= LARGEST_TILE

    class Wide(Hungry):
        """Needs much memory for every pixel."""

        def forward(self, lq):
            return super().forward(lq.repeat(1, 100, 1, 1))[:, :3]

    net = Wide(10**9, '')
    assert restore_image(net, lq).tile == FIRST_TILE and max(net.tried) <= FIRST_TILE


@pytest.mark.parametrize(
    ('length', 'tile', 'multiple', 'halo'), [(4000, 1984, 8, 216), (300, 160, 32, 5), (97, 96, 1, 0)]
)
def test_tiles_are_the_fewest_and_equal(length, tile, multiple, halo):
    class Seen(Hungry):
        """A network that remembers its tiles."""

        input_rule = InputRule((multiple, multiple), halo=halo)

        def forward(self, lq):
            self.tried.append(lq.shape[-1])
            return lq * 2

    net, lq = Seen(0, ''), torch.rand(1, 3, 8, length)
    restored = restore_tiled(net, lq, None, tile)
    torch.testing.assert_close(restored, lq * 2)
    shared = 2 * -(-halo // multiple) * multiple + RAMP
    padded = -(-length // multiple) * multiple
    assert len(net.tried) == -(-(padded - shared) // (tile - shared))
    assert max(net.tried) <= tile and max(net.tried) - min(net.tried) <= len(net.tried) * multiple


class Unindexable(Hungry):
    """As a network on a GPU whose kernels count elements in 32 bits."""

    def __init__(self):
        super().__init__(10**9, '')
        self.wide = nn.Conv2d(3, 40, 1)
        self.narrow = nn.Conv2d(40, 3, 1)

    def forward(self, lq):
        self.tried.append(max(lq.shape[-2:]))
        return lq + 0 * self.narrow(self.wide(lq))


def test_the_widest_tensor_of_a_network_is_found():
    lq, masks = torch.rand(1, 3, 200, 300), torch.ones(1, 1, 200, 300, dtype=torch.int32)
    small = {'width': 8, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
    nafnet = build_network({'type': 'NAFNet', **small}).eval()
    assert elements_a_pixel(nafnet, lq) == 16  # a block doubles its channels
    guided = build_network({'type': 'SegNAFNetLocal', 'seg_channel': 4, **small}).eval()
    assert elements_a_pixel(guided, lq, masks) == 16
    assert elements_a_pixel(Unindexable(), lq) == 40
    assert countable(nafnet, lq) and countable(nafnet, lq, limit=16 * 200 * 300 + 1)
    assert not countable(nafnet, lq, limit=16 * 200 * 300)


def test_images_beyond_32_bits_are_cut_without_trying_them_whole(monkeypatch):
    monkeypatch.setattr(restoring, '_may_fit', lambda net, lq, masks: countable(net, lq, masks, 40 * 900 * 900))
    lq, net = torch.rand(1, 3, 900, 900), Unindexable()
    assert restore_image(net, lq).tile == 450
    assert max(net.tried) <= 450
    whole = restore_image(net, lq[..., :899])
    assert whole.tile is None
    assert max(net.tried) == 900


def test_no_algorithms_are_tried_out_for_images_of_ever_new_sizes(monkeypatch):
    seen = []

    class Asking(Hungry):
        def forward(self, lq):
            seen.append(torch.backends.cudnn.benchmark)
            return super().forward(lq)

    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', True)
    restore_image(Asking(10**9, ''), torch.rand(1, 3, 40, 40))
    with pytest.raises(RuntimeError, match='a bug'):
        restore_image(Asking(0, 'a bug'), torch.rand(1, 3, 40, 40))
    assert seen == [False, False]
    assert torch.backends.cudnn.benchmark


@pytest.mark.parametrize('error', [torch.OutOfMemoryError('CUDA out of memory'), MemoryError()])
def test_every_error_of_a_full_memory_leads_to_tiles(error):
    class Full(Hungry):
        def forward(self, lq):
            if lq[0, 0].numel() > self.pixels:
                raise error
            return lq * 2

    lq = torch.rand(1, 3, 600, 600)
    restored = restore_image(Full(300 * 300, ''), lq)
    assert restored.tile == 300 and torch.allclose(restored.image, lq * 2)
