"""Direct implementation of RSS-T's forward pass, eager and in (B, C, H, W): baseline of the benchmark.

Each block looks up the positions again and computes all scores, masks are made for all windows, and every scale is
resized before it is merged.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rsst(net: Any, x: Tensor) -> list[Tensor]:
    """Run RSS-T with the parameters of ``net`` on an image whose sides are multiples of eight windows.

    Args:
        net: with blocks of type 'rsst' and ``token_mlp`` 'leff'.
        x: (B, 3 [+ prior], H, W).
    """
    batch, _, height, width = x.shape
    rows = torch.arange(height, dtype=x.dtype).view(1, 1, -1, 1).expand(batch, 1, -1, width)
    image, prior = x[:, :3], x[:, 3:]
    images, levels = [image], [torch.cat([image, rows], 1)]
    for _ in range(3):
        images.append(F.interpolate(images[-1], scale_factor=0.5, mode='nearest'))
        levels.append(F.interpolate(levels[-1], scale_factor=0.5, mode='nearest'))
    e = [_group(net.trans_group0, net.in_proj0(torch.cat([levels[0], prior], 1)))]
    for k in (1, 2, 3):
        own = net.get_submodule(f'in_proj{k}')(levels[k])
        above = net.get_submodule(f'dowsample_{k - 1}')(e[-1])
        fused = above + net.get_submodule(f'fusion{k}').merge(above * own)
        e.append(_group(net.get_submodule(f'trans_group{k}'), fused))
    y = _group(net.d_trans_group0, e[3])
    outputs = [net.out_proj0(y) + images[3]]
    for j in (1, 2, 3):
        size = e[3 - j].shape[-2:]
        z = torch.cat([F.interpolate(part, size, mode='nearest') for part in e], 1)
        merge = net.get_submodule(f'ScaleInfo{j}')
        z = z * merge.fc(z.mean((2, 3)))[..., None, None]
        y = torch.cat([net.get_submodule(f'upsample_{j - 1}')(y), merge.conv(z)], 1)
        y = _group(net.get_submodule(f'd_trans_group{j}'), net.get_submodule(f'merge{j}')(y))
        outputs.append(net.get_submodule(f'out_proj{j}')(y) + images[3 - j])
    return outputs


def _group(group: Any, x: Tensor) -> Tensor:
    y = x
    for block in group.blocks:
        y = _block(block, y)
    return x + group.h_conv(y)


def _block(block: Any, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    wh, ww = min(block.win_size[0], height), min(block.win_size[1], width)
    odd = block.idx % 2
    sh = block.win_size[0] // 2 if odd and height > block.win_size[0] else 0
    sw = block.win_size[1] // 2 if odd and width > block.win_size[1] else 0
    z = x.permute(0, 2, 3, 1)
    z = torch.roll(z, (-sh, -sw), (1, 2)) if sh or sw else z
    z = _cut(z, wh, ww)  # (B, windows, wh, ww, C)
    z = z + block.win_pos_embed(z.permute(0, 4, 1, 2, 3).contiguous()).permute(0, 2, 3, 4, 1)
    z = block.norm1(z).reshape(-1, wh * ww, channels)
    mask = _shift_mask(height, width, wh, ww, sh, sw) if sh or sw else None
    z = _attention(block.attn, z, wh, ww, mask).view(batch, height // wh, width // ww, wh, ww, channels)
    z = z.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)
    z = torch.roll(z, (sh, sw), (1, 2)) if sh or sw else z
    x1 = x + z.permute(0, 3, 1, 2)
    u = block.norm2(x1.permute(0, 2, 3, 1))
    hidden = block.mlp.linear1(u).permute(0, 3, 1, 2).contiguous()
    mixed = block.mlp.linear2(block.mlp.dwconv(hidden).permute(0, 2, 3, 1))
    spectrum = torch.fft.rfft2(x1)
    real, imaginary = block.conv_fft(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
    beside = torch.fft.irfft2(torch.complex(real.contiguous(), imaginary.contiguous()), s=(height, width))
    return (u + mixed).permute(0, 3, 1, 2) + beside


def _cut(x: Tensor, wh: int, ww: int) -> Tensor:
    batch, height, width, channels = x.shape
    x = x.view(batch, height // wh, wh, width // ww, ww, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, -1, wh, ww, channels)


def _shift_mask(height: int, width: int, wh: int, ww: int, sh: int, sw: int) -> Tensor:
    region = torch.zeros(1, height, width, 1)
    rows = (slice(0, -wh), slice(-wh, -sh), slice(-sh, None)) if sh else (slice(0, None),)
    columns = (slice(0, -ww), slice(-ww, -sw), slice(-sw, None)) if sw else (slice(0, None),)
    number = 0
    for row in rows:
        for column in columns:
            region[:, row, column] = number
            number += 1
    tokens = _cut(region, wh, ww).view(-1, wh * ww)
    return (tokens[:, None] != tokens[:, :, None]).float() * -100


def _attention(attn: Any, x: Tensor, wh: int, ww: int, mask: Tensor | None) -> Tensor:
    count, tokens, channels = x.shape
    heads = attn.num_heads
    q = attn.qkv.to_q(x).view(count, tokens, heads, -1).transpose(1, 2) * attn.scale
    k, v = attn.qkv.to_kv(x).view(count, tokens, 2, heads, -1).permute(2, 0, 3, 1, 4)
    place = torch.stack(torch.meshgrid(torch.arange(wh), torch.arange(ww), indexing='ij')).flatten(1)
    apart = place[:, :, None] - place[:, None]
    row = (apart[0] + wh - 1) * (2 * ww - 1) + apart[1] + ww - 1
    bias = attn.relative_position_bias_table[row.view(-1)].view(tokens, tokens, heads).permute(2, 0, 1)
    scores = q @ k.transpose(-2, -1) + bias
    if mask is not None:
        windows = len(mask)
        scores = scores.view(-1, windows, heads, tokens, tokens) + mask[None, :, None]
        scores = scores.view(-1, heads, tokens, tokens)
    mixed = scores.softmax(-1) @ v
    return attn.proj(mixed.transpose(1, 2).reshape(count, tokens, channels))
