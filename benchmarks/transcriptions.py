"""Direct implementations of the formulas, eager and in (B, C, H, W): baseline of benchmarks, reference of tests.

They are deliberately not optimised: one product of masks and features for all M masks, explicit statistics, running
sums in two dimensions.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_average_pooling(x: Tensor, masks: list[Tensor]) -> Tensor:
    """Run Algorithm 1 of arXiv 2309.02270: x (B, C, H, W), B float stacks (M, 1, H, W)."""
    out = torch.empty_like(x)
    for b, m in enumerate(masks):
        area = m.sum((2, 3), keepdim=True)
        mean = (x[b] * m).sum((2, 3), keepdim=True) / (area + 1e-8)
        rest = 1 - m.sum(0).clamp(0, 1)
        rest_mean = (x[b] * rest).sum((1, 2), keepdim=True) / (rest.sum() + 1e-8)
        out[b] = (mean * m).sum(0) + rest_mean * rest
    return out


def sam_deblur(net: Any, restore: Any, lq: Tensor, masks: list[Tensor]) -> Tensor:
    """Pad, compute region means of the two convolutions' features, run ``restore`` on image and means, crop.

    ``restore`` returns an image, or several of which the last is the result.
    """
    height, width = lq.shape[-2:]
    padded = net.input_rule.pad(lq)
    masks = [net.input_rule.pad(m) for m in masks]
    prior = mask_average_pooling(net.pre_seg_in(net.pre_seg(padded)), masks)
    restored = restore(torch.cat([padded, prior], 1))
    restored = restored if isinstance(restored, Tensor) else restored[-1]
    centred = net.input_rule.placement == 'center'
    top, left = (
        (new - old) // 2 if centred else 0 for new, old in zip(padded.shape[-2:], (height, width), strict=True)
    )
    return restored[..., top : top + height, left : left + width]


def nafnet(net: Any, x: Tensor) -> Tensor:
    """Run NAFNet's forward pass (arXiv 2204.04676) with the parameters of ``net``; H, W multiples of 2^levels."""
    image = x[:, : net.img_channel]
    x = net.intro(x)
    skips = []
    for encoder, down in zip(net.encoders, net.downs, strict=True):
        x = _blocks(encoder, x)
        skips.append(x)
        x = down(x)
    x = _blocks(net.middle_blks, x)
    for decoder, up in zip(net.decoders, net.ups, strict=True):
        x = _blocks(decoder, up(x) + skips.pop())
    return net.ending(x) + image


def _blocks(stage: Any, x: Tensor) -> Tensor:
    for b in stage:
        u = _gate(b.conv2(b.conv1(_norm(b.norm1, x))))
        x = x + b.conv3(u * b.sca[1](u.mean((2, 3), keepdim=True))) * b.beta
        x = x + b.conv5(_gate(b.conv4(_norm(b.norm2, x)))) * b.gamma
    return x


def _norm(norm: Any, x: Tensor) -> Tensor:
    mean = x.mean(1, keepdim=True)
    variance = (x - mean).pow(2).mean(1, keepdim=True)
    y = (x - mean) / (variance + norm.eps).sqrt()
    return norm.weight.view(1, -1, 1, 1) * y + norm.bias.view(1, -1, 1, 1)


def _gate(x: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return first * second


def lakdnet(net: Any, x: Tensor) -> Tensor:
    """Run LaKDNet's forward pass (arXiv 2302.02234) with the parameters of ``net``; H, W multiples of 8, clipped."""
    image = x[:, : net.img_channel][:, -net.out_channels :]
    e1 = _lakd_blocks(net.encoder_level1, net.embed(x))
    e2 = _lakd_blocks(net.encoder_level2, F.pixel_unshuffle(net.down1_2.body[0](e1), 2))
    e3 = _lakd_blocks(net.encoder_level3, F.pixel_unshuffle(net.down2_3.body[0](e2), 2))
    x = _lakd_blocks(net.latent, F.pixel_unshuffle(net.down3_4.body[0](e3), 2))
    x = torch.cat([F.pixel_shuffle(net.up4_3.body[0](x), 2), e3], 1)
    x = _lakd_blocks(net.decoder_level3, net.reduce_chan_level3(x))
    x = torch.cat([F.pixel_shuffle(net.up3_2.body[0](x), 2), e2], 1)
    x = _lakd_blocks(net.decoder_level2, net.reduce_chan_level2(x))
    x = torch.cat([F.pixel_shuffle(net.up2_1.body[0](x), 2), e1], 1)
    return (net.output(_lakd_blocks(net.decoder_level1, x)) + image).clamp(0, 1)


def _lakd_blocks(stage: Any, x: Tensor) -> Tensor:
    for b in stage:
        z, m = _norm(b.norm1.body, x), b.mixer
        a = F.gelu(m.dense_depth_1(z)) + z
        a = F.gelu(m.dense_point_1(a)) + z
        a = F.gelu(m.dense_depth_2(a)) + z
        a = F.gelu(m.dense_point_2(a)) + z
        u, w = b.ffn.dwconv(b.ffn.project_in(_norm(b.norm2.body, x + a))).chunk(2, 1)
        x = x + b.ffn.project_out(F.gelu(u) * w)
    return x


def local_pooling(x: Tensor, kernel: tuple[int, int]) -> Tensor:
    """Run TLC (arXiv 2112.04491): an integral image, the difference of its four corners, repeated edges."""
    height, width = x.shape[-2:]
    rows, columns = min(height, kernel[0]), min(width, kernel[1])
    integral = F.pad(x.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
    whole, top = integral[..., rows:, columns:], integral[..., :-rows, columns:]
    left, both = integral[..., rows:, :-columns], integral[..., :-rows, :-columns]
    means = (both + whole - top - left) / (rows * columns)
    right, below = width - means.shape[-1], height - means.shape[-2]
    return F.pad(means, (right // 2, (right + 1) // 2, below // 2, (below + 1) // 2), mode='replicate')
