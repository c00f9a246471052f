"""Restoring: whole and in tiles, out of memory, masks of Segment Anything, the bundled network."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from basicsr.inference.deblurrer import Deblurrer
from basicsr.inference.pretrained import find_weights, load_network
from basicsr.inference.restoring import restore_image
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils.device import tf32
from benchmarks.checks.accuracy import psnr
from benchmarks.checks.running import CheckFailed, Setting, check, require
from benchmarks.photo import photo

_ALEXNET = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


class _Small(nn.Module):
    """A network on a device without memory for more than some pixels."""

    def __init__(self, net: Any, most: int) -> None:
        super().__init__()
        self.net, self.most, self.failed = net, most, 0
        self.input_rule, self.tile_rule = net.input_rule, getattr(net, 'tile_rule', net.input_rule)

    def forward(self, lq: torch.Tensor) -> Any:
        if lq.shape[-2] * lq.shape[-1] > self.most:
            self.failed += 1
            raise torch.OutOfMemoryError('out of memory')
        return self.net(lq)


def bundled(setting: Setting) -> Any:
    """Return the bundled network on the device."""
    return load_network(find_weights(None)).eval().to(setting.device)


def images(setting: Setting) -> list[np.ndarray]:
    """Return four synthetic photos, RGB uint8."""
    size = (480, 1100) if setting.tiny else (720, 1280)
    return [np.roll(photo(*size), 37 * number, 1) for number in range(1 if setting.tiny else 4)]


@check(10, 'tiles')
def tiles(setting: Setting) -> str:
    """PSNR of images restored whole, in tiles, and in tiles after running out of memory; SSIM against the CPU."""
    net, side = bundled(setting), 480 if setting.tiny else 512
    differences, failed = [0.0], 0
    for image in images(setting):
        lq = torch.from_numpy(image).permute(2, 0, 1)[None].to(setting.device).float() / 255
        small = _Small(net, lq.shape[-2] * lq.shape[-1] * 3 // 4)
        smallest: int | Literal['auto'] = 'auto' if lq.device.type != 'cpu' else side
        runs: list[tuple[Any, int | Literal['auto'] | None]] = [(net, None), (net, side), (small, smallest)]
        scores = []
        for one, tile in runs:
            output = restore_image(one, lq, None, tile).image[0].clamp(0, 1).mul(255).round().byte()
            rounded = output.permute(1, 2, 0).cpu().numpy()
            scores.append(calculate_psnr(rounded, image))
        device = 'cpu' if setting.device.type == 'cpu' else str(setting.device)
        off = abs(calculate_ssim(rounded, image, device=device) - calculate_ssim(rounded, image))
        require(off, 1e-9, 'difference of SSIM')
        differences += [abs(score - scores[0]) for score in scores[1:]]
        failed += small.failed
    if setting.device.type != 'cpu' and not failed:
        raise CheckFailed('nothing ran out of memory')
    return require(max(differences), 1e-3, 'largest difference, dB:') + _lpips(setting, rounded, image)


def _lpips(setting: Setting, output: np.ndarray, image: np.ndarray) -> str:
    """Compare LPIPS, with random convolutions, on the device and on the CPU."""
    try:
        from basicsr.metrics.lpips import distance, network

        generator = torch.Generator().manual_seed(3)
        state = {}
        for number, shape in _ALEXNET.items():
            scale = (2 / math.prod(shape[1:])) ** 0.5
            state[f'features.{number}.weight'] = torch.randn(shape, generator=generator) * scale
            state[f'features.{number}.bias'] = torch.zeros(shape[0])
        net = network(state)
    except ImportError:
        setting.warn("LPIPS was not compared: it needs torchmetrics, pip install -e '.[lpips]'")
        return ''
    first, second = (torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255 for one in (output, image))
    with tf32(False):
        here = distance(net, first, second)
        there = distance(net.to(setting.device), first.to(setting.device), second.to(setting.device))
    return ', ' + require(abs(here - there), 1e-5, 'difference of LPIPS')


@check(11, 'masks and photos')
def masks_and_photos(setting: Setting) -> str:
    """Segment Anything with a small encoder and the bundled network, against the CPU; a collapse is repaired."""
    from basicsr.masks.sam.decoder import PromptDecoder
    from benchmarks.sam import network

    sam = network('tiny')
    generator = torch.Generator().manual_seed(2)
    scene = torch.from_numpy(photo(1024, 1024)).permute(2, 0, 1)
    points = torch.rand(4 if setting.tiny else 64, 2, generator=generator, dtype=torch.float64) * 1024
    logits = []
    for device in (torch.device('cpu'), setting.device):
        there = copy.deepcopy(sam).to(device)
        decoder = PromptDecoder(there)
        with torch.no_grad():
            decoder.set_image(there.image_encoder(there.preprocess(scene.to(device))[None]))
            logits.append(decoder.decode(points.to(device)).logits.cpu())
    differ = float(((logits[0] > 0) != (logits[1] > 0)).float().mean())
    text = require(differ, 1e-3, 'share of mask pixels that differ')
    image = images(setting)[0]
    devices = 'cpu', str(setting.device)
    sides = [
        Deblurrer.load(None, device=device, dtype='fp32', guard='off', method='network')(image) for device in devices
    ]
    same = psnr(*(torch.from_numpy(side).float() / 255 for side in sides))
    text += ', ' + require(same, 50, 'bundled network, dB', True)
    net = bundled(setting)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(float('nan'))
    done = Deblurrer(net, name='broken', device=str(setting.device), dtype='fp32', method='network').deblur(
        image, 'none'
    )
    if not done.warning or not np.isfinite(np.asarray(done.image, np.float32)).all():
        raise CheckFailed('a network that returns NaN was not noticed')
    return f'{text}, a collapse is repaired'
