"""Convolutions whose results are scaled and shifted, channel by channel, by functions of a guidance vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.same_padding import SameConv2d


class GuidedConvolution(nn.Module):
    """``relu(conv(x) · m + a)`` with m and a affine functions of a vector (arXiv 2004.02956).

    ``m = W_m g + b_m + u``, ``a = W_a g + b_a``, one number a channel. u starts at one, so an untrained layer is close
    to a plain convolution.

    Args:
        in_channels: of ``x``.
        out_channels: of the result.
        guidance: length of g.
        kernel_size: of the convolution.
        multiplicative: whether there is m.
        additive: whether there is a.
        guide_before: ``relu(conv(x · m + a))`` instead.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        guidance: int,
        kernel_size: int = 3,
        multiplicative: bool = True,
        additive: bool = True,
        guide_before: bool = False,
    ) -> None:
        super().__init__()
        guided = in_channels if guide_before else out_channels
        self.conv = SameConv2d(in_channels, out_channels, kernel_size)
        self.mul = nn.Linear(guidance, guided) if multiplicative else None
        self.mul_bias = nn.Parameter(torch.ones(guided)) if multiplicative else None
        self.add = nn.Linear(guidance, guided) if additive else None
        self.guide_before = guide_before

    def forward(self, x: Tensor, guidance: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) and (B, G) to (B, out_channels, H, W)."""
        factor = self.mul(guidance) + self.mul_bias if self.mul is not None else None
        offset = self.add(guidance) if self.add is not None else None
        return guided_convolution(x, self.conv, factor, offset, self.guide_before)


def guided_convolution(
    x: Tensor, conv: nn.Conv2d, factor: Tensor | None, offset: Tensor | None, before: bool = False
) -> Tensor:
    """The formula of :class:`GuidedConvolution` for m and a that are known.

    Args:
        x: (B, C, H, W).
        conv: C to N channels.
        factor: m, (B, N), or (B, C) if ``before``; None for 1.
        offset: a, of the same shape; None for 0.
        before: scale and shift what goes into the convolution.
    """
    if before:
        return F.relu(conv(_modulated(x, factor, offset)))
    return F.relu(_modulated(conv(x), factor, offset))


def _modulated(x: Tensor, factor: Tensor | None, offset: Tensor | None) -> Tensor:
    m, a = (None if v is None else v[..., None, None].to(x.dtype) for v in (factor, offset))
    if m is not None and a is not None:
        return torch.addcmul(a, x, m)
    if m is not None:
        return x * m
    return x if a is None else x + a


class GuidedBlock(nn.Module):
    """Guided convolutions in a row with one guidance vector, which fully connected layers make from the blur kernel.

    Args:
        in_channels: channels that go in.
        width: channels that come out, and length of the guidance vector.
        kernel_values: numbers in a blur kernel.
        size: guided convolutions.
        dense: fully connected layers.
        kernel_size: see GuidedConvolution.
        multiplicative: see GuidedConvolution.
        additive: see GuidedConvolution.
        guide_before: see GuidedConvolution.
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
        self.fc = nn.ModuleList(nn.Linear(width if i else kernel_values, width) for i in range(dense))
        guidance = width if dense else kernel_values
        layers = [
            GuidedConvolution(
                width if i else in_channels, width, guidance, kernel_size, multiplicative, additive, guide_before
            )
            for i in range(size)
        ]
        # The layers' parameters under the names of converted files: one list for each kind.
        self.convs = nn.ModuleList(layer.conv for layer in layers)
        self.mul = nn.ModuleList(layer.mul for layer in layers if layer.mul is not None)
        self.mul_bias = nn.ParameterList(layer.mul_bias for layer in layers if layer.mul_bias is not None)
        self.add = nn.ModuleList(layer.add for layer in layers if layer.add is not None)
        self.guide_before = guide_before

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, width, H, W), guided by flat blur kernels (B, kernel_values)."""
        guidance = kernel
        for layer in self.fc:
            guidance = F.relu(layer(guidance))
        for i, conv in enumerate(self.convs):
            factor = self.mul[i](guidance) + self.mul_bias[i] if len(self.mul) else None
            offset = self.add[i](guidance) if len(self.add) else None
            x = guided_convolution(x, conv, factor, offset, self.guide_before)  # type: ignore[arg-type]
        return x
