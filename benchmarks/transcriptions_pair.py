"""Direct implementation of the analysis-synthesis pair's forward passes, eager and in (B, C, H, W).

All pairs of channels are correlated at once, in whole transforms.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def analysis_synthesis(net: Any, x: Tensor) -> Tensor:
    """Run the pair on an image (B, 3 [+ prior], H, W) in [0, 1] that needs no padding, with its own kernel."""
    return synthesis(net.synthesis, 255 * x, analysis(net.analysis, 255 * x[:, :3])) / 255


def analysis(net: Any, image: Tensor) -> Tensor:
    """Estimate blur kernels (B, h, w) of (B, 3, H, W) in [0, 255] from the whole image (arXiv 2004.02956)."""
    gray = 0.2989 * image[:, :1] + 0.5870 * image[:, 1:2] + 0.1140 * image[:, 2:]
    centred = gray - gray.mean((2, 3), keepdim=True)
    level = centred / (centred.pow(2).mean((2, 3), keepdim=True) + 1e-7).sqrt()
    found = []
    for index, block in enumerate(net.encoder):
        y = level
        for conv in block.convs:
            y = F.relu(F.conv2d(y, conv.weight, conv.bias))
        y = F.relu(F.conv2d(y, block.reduce.weight, block.reduce.bias))
        rows, columns = block.correlation.max_shift
        y = cross_correlation(y, rows, columns, block.correlation.add_flips)
        found.append(F.relu(F.conv2d(y, block.after_cc.weight, block.after_cc.bias)))
        if index < len(net.down):
            level = _same(net.down[index], level, 2)
    x = found[-1]
    for index in reversed(range(len(net.decoder))):
        stage, finer = net.decoder[index], found[index]
        x = F.relu(F.conv_transpose2d(x, stage.up.weight, stage.up.bias, 2))
        (height, width), (tall, wide) = x.shape[-2:], finer.shape[-2:]
        top, left = height // 2 - tall // 2, width // 2 - wide // 2
        x = torch.cat([finer, x[..., top : top + tall, left : left + wide]], 1)
        x = F.relu(_same(stage.merge, x))
    for conv in net.head:
        x = F.relu(_same(conv, x))
    kernel = F.relu(_same(net.out, x))[:, 0]
    return kernel / (kernel.abs().sum((1, 2), keepdim=True) + 1e-7)


def synthesis(net: Any, x: Tensor, kernel: Tensor) -> Tensor:
    """Restore (B, 3 [+ prior], H, W) in [0, 255], sides multiples of 2^levels, with the kernels (B, h, w)."""
    flat = kernel.flatten(1)
    skips = []
    for block, down in zip(net.enc, net.down, strict=True):
        x = _guided(block, x, flat)
        skips.append(x)
        x = _same(down, x, 2)
    x = _guided(net.mid, x, flat)
    for stage in reversed(net.dec):
        whole = F.conv_transpose2d(x, stage.up.weight, stage.up.bias, 2)
        first, (height, width) = (stage.up.weight.shape[-1] - 2) // 2, x.shape[-2:]
        up = F.relu(whole[..., first : first + 2 * height, first : first + 2 * width])
        both = torch.cat([up, _same(stage.skip, skips.pop())], 1)
        x = _guided(stage.block, F.relu(F.conv2d(both, stage.fuse.weight, stage.fuse.bias)), flat)
    return _same(net.out, x)


def _guided(block: Any, x: Tensor, flat: Tensor) -> Tensor:
    g = flat
    for layer in block.fc:
        g = F.relu(g @ layer.weight.T + layer.bias)
    for conv, mul, u, add in zip(block.convs, block.mul, block.mul_bias, block.add, strict=True):
        m = g @ mul.weight.T + mul.bias + u
        a = g @ add.weight.T + add.bias
        x = F.relu(_same(conv, x) * m[..., None, None] + a[..., None, None])
    return x


def _same(conv: Any, x: Tensor, stride: int = 1) -> Tensor:
    """Return a convolution with ⌈n / stride⌉ outputs; an odd zero is added at the end."""
    kernel = conv.weight.shape[-1]
    (top, bottom), (left, right) = (_zeros(size, kernel, stride) for size in x.shape[-2:])
    return F.conv2d(F.pad(x, (left, right, top, bottom)), conv.weight, conv.bias, stride)


def _zeros(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def cross_correlation(x: Tensor, max_shift_y: int, max_shift_x: int, add_flips: bool = True) -> Tensor:
    """Run the correlation layer of arXiv 2004.02956 on all pairs of channels at once: x (B, C, H, W)."""
    (height, width), (my, mx) = x.shape[-2:], (max_shift_y, max_shift_x)
    centred = x - x.mean((2, 3), keepdim=True)
    deviation = centred.pow(2).mean((2, 3), keepdim=True).sqrt()
    maps = centred / (torch.where(deviation < 1e-9, torch.inf, deviation) * (height * width) ** 0.5)
    spectra = torch.fft.rfft2(maps)
    i, j = torch.triu_indices(x.shape[1], x.shape[1])
    whole = torch.fft.irfft2(spectra[:, i] * spectra[:, j].conj(), s=(height, width))
    rows = torch.cat([whole[..., height - my :, :], whole[..., : my + 1, :]], 2)
    window = torch.cat([rows[..., width - mx :], rows[..., : mx + 1]], 3)
    return torch.cat([window, window.flip(2, 3)], 1) if add_flips else window
