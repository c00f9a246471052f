"""Convolutions whose results are scaled and shifted, channel by channel, by functions of a guidance vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.same_padding import SameConv2d


class GuidedBlock(nn.Module):
    """A row of guided convolutions with one guidance vector, derived from the blur kernel (arXiv 2004.02956).

    Each layer computes ``relu(conv(x) · m + a)``, with ``m = W_m g + b_m + u`` and ``a = W_a g + b_a``, one number per
    channel. u starts at one, so an untrained layer is close to a plain convolution. Fully connected layers compute the
    guidance g from the kernel.

    Args:
        in_channels: input channels.
        width: output channels, and length of the guidance vector.
        kernel_values: number of values of a blur kernel.
        size: number of guided convolutions.
        dense: number of fully connected layers; 0 uses the kernel as guidance.
        kernel_size: of the convolutions.
        multiplicative: use m.
        additive: use a.
        guide_before: compute ``relu(conv(x · m + a))`` instead.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        kernel_values: int,
        size: int,
        dense: int,
        kernel_size: int = 3,
        multiplicative: bool = True,
        additive: bool = True,
        guide_before: bool = False,
    ) -> None:
        super().__init__()
        self.guide_before = guide_before
        self.fc = nn.ModuleList(nn.Linear(width if i else kernel_values, width) for i in range(dense))
        self.convs, self.mul = nn.ModuleList(), nn.ModuleList()
        self.mul_bias, self.add = nn.ParameterList(), nn.ModuleList()
        guidance = width if dense else kernel_values
        for i in range(size):
            inputs = width if i else in_channels
            guided = inputs if guide_before else width
            self.convs.append(SameConv2d(inputs, width, kernel_size))
            if multiplicative:
                self.mul.append(nn.Linear(guidance, guided))
                self.mul_bias.append(nn.Parameter(torch.ones(guided)))
            if additive:
                self.add.append(nn.Linear(guidance, guided))

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, width, H, W), guided by flat blur kernels (B, kernel_values)."""
        for layer in self.fc:
            kernel = F.relu(layer(kernel))
        for i, conv in enumerate(self.convs):
            m = self.mul[i](kernel) + self.mul_bias[i] if len(self.mul) else None
            a = self.add[i](kernel) if len(self.add) else None
            x = F.relu(conv(_modulated(x, m, a)) if self.guide_before else _modulated(conv(x), m, a))
        return x


def _modulated(x: Tensor, factor: Tensor | None, offset: Tensor | None) -> Tensor:
    m, a = (None if v is None else v[..., None, None].to(x.dtype) for v in (factor, offset))
    if m is not None and a is not None:
        return torch.addcmul(a, x, m)
    if m is not None:
        return x * m
    return x if a is None else x + a
