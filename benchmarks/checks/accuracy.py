"""Numbers: mask average pooling, the networks, and the spectrum of RSS-T, on the device and on the CPU."""

from __future__ import annotations

import copy
import itertools
import math

import torch
from torch import Tensor

from basicsr.archs.contract import restored
from basicsr.archs.map_unit import drop_masks, mask_average_pooling
from basicsr.archs.rsst_blocks import SpectralBlock
from basicsr.utils.device import fast_bfloat16, tf32
from benchmarks import transcriptions
from benchmarks.checks.networks import FULL, PLAIN, TINY, random_network
from benchmarks.checks.running import Setting, check, require


def labels_of(count: int, layers: int, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return label maps (2, L, H, W) of about ``count`` ids, unique over the layers, with some pixels without mask."""
    generator = torch.Generator().manual_seed(count)
    each = max(1, count // layers)
    labels = torch.randint(0, each + 1, (2, layers, *size), generator=generator)
    return (labels + each * torch.arange(layers).view(1, -1, 1, 1) * (labels > 0)).to(dtype)


def largest(first: Tensor, second: Tensor) -> float:
    """Return the largest difference relative to the largest value of the second."""
    second = second.double().cpu()
    return float((first.double().cpu() - second).abs().max() / second.abs().max().clamp(min=1e-30))


def psnr(first: Tensor, second: Tensor) -> float:
    """Return the PSNR in dB, relative to the largest value of the second."""
    second = second.double().cpu()
    error = float((first.double().cpu() - second).square().mean())
    return 10 * math.log10(float(second.abs().max()) ** 2 / error) if error else math.inf


@check(2, 'mask average pooling')
def pooling(setting: Setting) -> str:
    """Forward and backward pass for all types of label maps, against the CPU and the plain formula; dropped ids."""
    size = (48, 64) if setting.tiny else (256, 256)
    worst = {torch.float64: 0.0, torch.float32: 0.0}
    counts = (1, 60, 255) if setting.tiny else (1, 60, 255, 4000)
    for count, layers, dtype in itertools.product(counts, (1, 2, 3), (torch.uint8, torch.int32, torch.uint16)):
        if dtype == torch.uint8 and count > 255:
            continue
        labels = labels_of(count, layers, size, dtype)
        labels = torch.ones_like(labels) if count == layers == 1 else labels
        x, weight = torch.randn(2, 2, 2, *size, dtype=torch.float64)
        expected = mask_average_pooling(x, labels), mask_average_pooling(weight, labels)  # it is its own gradient
        if count <= 60:
            ids = range(1, int(labels.long().max()) + 1)
            stacks = [torch.stack([(one.long() == k).any(0, keepdim=True).double() for k in ids]) for one in labels]
            plain = transcriptions.mask_average_pooling(x, stacks)
            require(largest(expected[0], plain), 1e-12, 'CPU against the formula')
        for kind in worst:
            features = x.detach().to(setting.device, kind, copy=True).requires_grad_()
            pooled = mask_average_pooling(features, labels.to(setting.device))
            (pooled * weight.to(setting.device, kind)).sum().backward()
            assert features.grad is not None
            worst[kind] = max(worst[kind], largest(pooled.detach(), expected[0]), largest(features.grad, expected[1]))
        dropped = drop_masks(labels.to(setting.device), 0.5, [1, 2])
        expected_labels = drop_masks(labels, 0.5, [1, 2])
        assert isinstance(dropped, Tensor) and isinstance(expected_labels, Tensor)
        if not torch.equal(dropped.cpu(), expected_labels):
            require(math.inf, 0, f'dropped ids differ for {dtype}, {count} masks:')
    torch.use_deterministic_algorithms(True)
    try:
        x, labels = (part.to(setting.device) for part in (torch.rand(2, 2, *size), labels_of(60, 1, size, torch.uint8)))
        same = torch.equal(mask_average_pooling(x, labels), mask_average_pooling(x, labels))
    finally:
        torch.use_deterministic_algorithms(False)
    require(float(not same), 0, 'deterministic mode, two runs differ:')
    texts = (require(worst[torch.float64], 1e-12, 'fp64'), require(worst[torch.float32], 2e-6, 'fp32'))
    return f'largest difference: {", ".join(texts)}'


@check(3, 'networks')
def networks(setting: Setting) -> str:
    """Outputs and gradients of every network at two sizes, one of them padded; TF32 and bf16."""
    sizes = ((64, 64), (61, 77)) if setting.tiny else ((256, 256), (250, 333))
    blocks, texts = (TINY if setting.tiny else FULL), []
    guided = {'type': 'SAMDeblur', 'backbone': blocks['NAFNet']}
    for name, block in (*blocks.items(), ('SAMDeblur', guided)):
        net = random_network(block)
        there, worst = copy.deepcopy(net).to(setting.device), [0.0, 0.0, 0.0]
        half, rounded = math.inf, math.inf
        for size in sizes:
            lq = torch.rand(1, 3, *size)
            masks = [labels_of(20, 2, size, torch.uint8)[:1]] if name == 'SAMDeblur' else []
            far = [part.to(setting.device) for part in (lq, *masks)]
            sides = []
            for one, inputs in ((net, [lq, *masks]), (there, far)):
                one.zero_grad()
                output = restored(one(*inputs))
                output.square().mean().backward()
                gradient = torch.cat([p.grad.flatten().cpu() for p in one.parameters() if p.grad is not None])
                sides.append((output.detach().cpu(), gradient))
            (here, gradient), (result, other) = sides
            worst[0] = max(worst[0], largest(result, here))
            worst[1] = max(worst[1], float((gradient - other).norm() / gradient.norm()))
            with torch.no_grad():
                if name in PLAIN and size == sizes[0]:
                    worst[2] = max(worst[2], largest(result, restored(PLAIN[name](there, far[0])).cpu()))
                if setting.device.type == 'cuda':
                    with tf32(True):
                        rounded = min(rounded, psnr(restored(there(*far)), here))
                if fast_bfloat16(setting.device):
                    with torch.autocast(setting.device.type, torch.bfloat16):
                        half = min(half, psnr(restored(there(*far)), here))
        numbers = [
            require(worst[0], 1e-4, f'{name}: output'),
            require(worst[1], 1e-3, 'gradient'),
            *([require(worst[2], 1e-4, 'transcription')] if name in PLAIN else []),
            *([require(rounded, 55, 'TF32 dB', True)] if rounded < math.inf else []),
            *([require(half, 45, 'bf16 dB', True)] if half < math.inf and getattr(net, 'bf16_safe', False) else []),
        ]
        if half < 45:
            setting.warn(f'{name}: bf16 gives {half:.1f} dB with random weights; it is not declared as safe')
        texts.append(' '.join(numbers))
    return '; '.join(texts)


@check(4, 'spectrum of RSS-T')
def spectrum(setting: Setting) -> str:
    """The spectral branch for even and odd widths; before it is made that of a real map, devices differ."""
    torch.manual_seed(0)
    block, found, before = SpectralBlock(16, 2, [4, 4]).eval(), 0.0, 0.0
    there = copy.deepcopy(block).to(setting.device)
    for height, width in ((16, 24), (16, 23), (15, 17), (16, 1)):
        x = torch.randn(2, height, width, 16)
        with torch.no_grad():
            found = max(found, largest(there._beside(x.to(setting.device)), block._beside(x)))
        raw = torch.randn(2, 3, height, width // 2 + 1, dtype=torch.complex64)
        sides = (torch.fft.irfft2(part, s=(height, width)) for part in (raw.to(setting.device), raw))
        before = max(before, largest(*sides))
    return f'{require(found, 1e-5, "difference")}; of a spectrum that is not Hermitian {before:.2g}'
