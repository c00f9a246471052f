"""The parts of RSS-T that connect its scales, after MIMO-UNet (arXiv 2108.05054)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.rsst_attention import channel_gate
from basicsr.archs.rsst_blocks import SLOPE, ConvAct
from basicsr.utils.export_hooks import exporting


class SCM(nn.Module):
    """Features of the image at one scale, with the image among them (MIMO-UNet's shallow convolutional module).

    Args:
        out_plane: output channels.
        inputs: input channels: image and row number.
    """

    def __init__(self, out_plane: int, inputs: int = 4) -> None:
        super().__init__()
        quarter, half = out_plane // 4, out_plane // 2
        self.main = nn.Sequential(
            ConvAct(inputs, quarter, 3),
            ConvAct(quarter, half, 1),
            ConvAct(half, half, 3),
            ConvAct(half, out_plane - inputs, 1),
        )
        self.conv = ConvAct(out_plane, out_plane, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, out_plane, H, W)."""
        return self.conv(torch.cat([x, self.main(x)], 1))


class FAM(nn.Module):
    """A layer that merges features of a scale with those from the scale above (MIMO-UNet's feature attention module).

    Args:
        channel: channels of both.
    """

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.merge = ConvAct(channel, channel, 3, act=False)

    def forward(self, above: Tensor, own: Tensor) -> Tensor:
        """Return above + merge(above · own), (B, C, H, W)."""
        return above + self.merge(above * own)


class SEFF(nn.Module):
    """A layer that merges the features of all scales: it resizes them, gates each channel, and reduces the channels.

    Enlarging repeats pixels, so a 1×1 convolution can run before it: smaller maps are convolved first, then enlarged.
    The parameters are those of a single convolution of all channels.

    Args:
        in_channel: channels of all scales together.
        out_channel: output channels.
        reduction: channels relative to the hidden channels of the gate.
    """

    def __init__(self, in_channel: int, out_channel: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc = channel_gate(in_channel, reduction)
        self.conv = nn.Sequential(ConvAct(in_channel, out_channel, 1), ConvAct(out_channel, out_channel, 3, act=False))

    def forward(self, *features: Tensor, scale: int = 0) -> Tensor:
        """Merge (B, C_k, H_k, W_k), each half the size of the previous one or all of the same size.

        Args:
            features: of the scales, the largest first.
            scale: index of the scale whose size the result has.

        Returns:
            (B, out_channel, H, W).
        """
        height = features[scale].shape[-2]
        parts = [every(part, int(max(1, part.shape[-2] // height))) for part in features]  # ints also in graphs
        gate = self.fc(torch.cat([part.mean((-2, -1)) for part in parts], 1))[..., None, None]
        layers: Any = self.conv
        conv = layers[0].main[0]
        widths = [part.shape[1] for part in parts]
        merged = conv.bias.view(1, -1, 1, 1)
        for part, share, weight in zip(parts, gate.split(widths, 1), conv.weight.split(widths, 1), strict=True):
            one = F.conv2d(part * share, weight)
            merged = merged + _enlarged(one, int(height // one.shape[-2]))
        return layers[1](F.leaky_relu(merged, SLOPE))


def every(x: Tensor, step: int) -> Tensor:
    """Return every step-th row and column of (..., H, W)."""
    if not exporting():
        return x[..., ::step, ::step]
    # the sides are multiples; so a graph knows the size
    return x.unflatten(-2, (-1, step))[..., 0, :].unflatten(-1, (-1, step))[..., 0]


def _enlarged(x: Tensor, factor: int) -> Tensor:
    """Repeat every pixel."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode='nearest')
