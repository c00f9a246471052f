"""Photos in tiles by the one call that users make: regions keep their meaning, and nobody sees where tiles meet."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from basicsr import Deblurrer
from basicsr.archs import build_network
from basicsr.images.files import imread
from basicsr.inference.tiling import RAMP, UNSEEN, local_form
from basicsr.preparation.synthetic_sets import photo_file

pytestmark = pytest.mark.numeric

GUIDED = {'type': 'SAMDeblur', 'backbone': {'type': 'PlainUNet', 'width': 4}}
GLOBAL = {'type': 'SegNAFNet', 'width': 4, 'seg_channel': 2, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1]}
ONE = 65535


def network(block: dict, last: float) -> nn.Module:
    """Random weights; the residual is scaled by ``last``."""
    torch.manual_seed(1)
    net = build_network(block).eval()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma')):
                parameter.normal_(0, 0.3)
            elif name.startswith('pre_seg'):  # which makes the means of regions count
                parameter.normal_(0, 1.0)
            elif 'ending' in name:
                parameter.mul_(last)
    return net


def picture(height: int, width: int) -> np.ndarray:
    """(H, W, 3) RGB uint16: a photo, brighter to the right so that the means of parts are not that of the whole."""
    photo = imread(photo_file('astronaut'))[:height, :width].astype(float) / 255
    slope = np.linspace(0.3, 1.0, width)[None, :, None]
    return np.asarray((0.1 + 0.7 * photo * slope) * ONE, np.uint16)


def diagonal(height: int, width: int) -> np.ndarray:
    """(H, W): region 1 lies across the whole picture from corner to corner, region 2 is the rest."""
    rows, columns = np.indices((height, width))
    return np.where(np.abs(rows * width - columns * height) < 0.35 * height * width, 1, 2).astype(np.int32)


def deblur(net: nn.Module, image: np.ndarray, labels: np.ndarray, tile: int | None) -> np.ndarray:
    done = Deblurrer(net, device='cpu', dtype='fp32', tile=tile, guard='off').deblur(image, labels)
    assert done.tile == tile
    return done.image.astype(int)


def test_a_region_across_tiles_has_the_mean_of_the_whole_photo():
    """With finite support the result is that of the whole photo; it is not if the region ends where tiles do."""
    net = network(GUIDED, 1.0)
    tile = 2 * net.backbone.input_rule.halo + 60
    image, labels = picture(150, 330), diagonal(150, 330)
    whole, tiled = deblur(net, image, labels, None), deblur(net, image, labels, tile)
    assert np.abs(whole - image).mean() > 0.005 * ONE
    assert np.abs(tiled - whole).max() <= 1
    cut = labels + 2 * (np.arange(330) // 70)[None].astype(np.int32)
    assert np.abs(deblur(net, image, cut, None) - whole).max() > 50


def test_a_tile_with_global_pooling_is_the_local_form_with_the_prior_of_the_whole_photo():
    """The columns that only the first tile reaches, by the definition in docs/evaluation.md."""
    net, tile = network(GLOBAL, 0.1), 160
    image, labels = picture(96, 400), diagonal(96, 400)
    tiled = deblur(net, image, labels, tile)
    lq = torch.from_numpy(image.astype(np.float32) / ONE).permute(2, 0, 1)[None]
    own = tile - UNSEEN - RAMP
    with torch.inference_mode():
        local: nn.Module = local_form(net)
        prior = net.with_prior(lq, torch.from_numpy(labels)[None, None])
        wanted = local.restore_with_prior(prior[..., :tile])[0].permute(1, 2, 0).numpy() * ONE
        part = local(lq[..., :tile], torch.from_numpy(labels)[None, None, :, :tile])[0].permute(1, 2, 0).numpy() * ONE
    assert np.abs(tiled[:, :own] - wanted.clip(0, ONE)[:, :own]).max() <= 1
    assert np.abs(part - wanted)[:, :own].max() > 20  # the prior of the tile alone is another


def steps(image: np.ndarray, axis: int) -> np.ndarray:
    """Mean size of the gradient between neighbouring columns (axis 1) or rows (axis 0)."""
    return np.abs(np.diff(image.astype(float), axis=axis)).mean((1 - axis, 2))


@pytest.mark.slow
def test_the_gradient_where_tiles_meet_is_that_of_the_whole_photo():
    """The network of the repository, a blurred photo, every place where tiles may meet: at most 1.1 times as much.

    Tiles that are put side by side are wrong at their edges, and the tiles under test are not simply the whole photo.
    """
    image, tile = cv2.blur(picture(512, 512), (9, 1)), 480
    labels = diagonal(512, 512)
    options = {'device': 'cpu', 'dtype': 'fp32', 'method': 'network', 'guard': 'off'}
    whole = Deblurrer.load(**options, tile=None)
    wanted = whole.deblur(image, labels).image
    tiled = Deblurrer.load(**options, tile=tile).deblur(image, labels)
    assert tiled.tile == tile and not np.array_equal(tiled.image, wanted)
    for axis in (0, 1):
        assert (steps(tiled.image, axis) / steps(wanted, axis)).max() <= 1.1
    beside = wanted.copy()
    for left in range(0, 512, 128):
        part = np.s_[:, left : left + 128]
        beside[part] = whole.deblur(image[part], labels[part]).image
    seams = np.s_[:, [127, 128, 255, 256, 383, 384]]
    error, own = (np.abs(other[seams].astype(float) - wanted[seams]).mean() for other in (beside, tiled.image))
    assert error > 10 * own
