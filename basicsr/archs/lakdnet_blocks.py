"""The blocks of LaKDNet: large depth-wise kernels and point-wise layers, then a gated feed-forward part."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.nafnet_arch import LayerNorm2d
from basicsr.archs.pointwise import PointConv2d


class BiasFreeNorm2d(nn.Module):
    """Division of every pixel by its standard deviation over the channels, without subtracting the mean.

    The variance is still taken around the mean, as in the published bias-free form.

    Args:
        channels: C of the (B, C, H, W) input.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, C, H, W); the variance is computed in float32 or float64."""
        exact = x if x.dtype == torch.float64 else x.float()
        scale = torch.rsqrt(exact.var(1, correction=0, keepdim=True) + self.eps)
        return x * (scale * self.weight.view(1, -1, 1, 1)).to(x.dtype)


class PixelNorm(nn.Module):
    """The norm of a block, under the published parameter name ``body``.

    Args:
        channels: C of the (B, C, H, W) input.
        bias: subtract the mean and add a bias, or use the bias-free form.
    """

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.body = LayerNorm2d(channels, eps=1e-5) if bias else BiasFreeNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W) over its channels."""
        return self.body(x)


class Mixer(nn.Module):
    """Two large depth-wise convolutions, each followed by a point-wise one; all four add the mixer's input.

    Args:
        channels: input and output channels.
        kernel: size of the depth-wise kernels, odd.
        bias: use biases in the depth-wise convolutions; the point-wise ones always have them.
    """

    def __init__(self, channels: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.dense_depth_1 = _depthwise(channels, kernel, bias)
        self.dense_point_1 = PointConv2d(channels, channels)
        self.dense_depth_2 = _depthwise(channels, kernel, bias)
        self.dense_point_2 = PointConv2d(channels, channels)

    def forward(self, z: Tensor) -> Tensor:
        """Mix normalised features (B, C, H, W)."""
        mixed = z
        for layer in (self.dense_depth_1, self.dense_point_1, self.dense_depth_2, self.dense_point_2):
            mixed = _add(_gelu(layer(mixed)), z)
        return mixed


class GatedFeedForward(nn.Module):
    """A point-wise and a depth-wise 3×3 convolution, a gate of one half by the other, and a point-wise convolution.

    Args:
        channels: input and output channels.
        expansion: the hidden channels are int(channels · expansion).
        bias: use biases.
    """

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = PointConv2d(channels, 2 * hidden, bias)
        self.dwconv = _depthwise(2 * hidden, 3, bias)
        self.project_out = PointConv2d(hidden, channels, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        gate, value = (self._hidden(x, part) for part in (0, 1))  # the halves of one tensor would not be contiguous
        return self.project_out(_times(_gelu(gate), value))

    def _hidden(self, x: Tensor, part: int) -> Tensor:
        weight = self.dwconv.weight.chunk(2)[part]
        bias = None if self.dwconv.bias is None else self.dwconv.bias.chunk(2)[part]
        return F.conv2d(self.project_in.of_half(x, part), weight, bias, padding=1, groups=len(weight))


class LaKDBlock(nn.Module):
    """A mixer, then a feed-forward part. Both residuals start from the block's input, as published.

    Args:
        channels: input and output channels.
        kernel: size of the mixer's kernels, odd.
        expansion: see :class:`GatedFeedForward`.
        bias: use biases where they are optional.
        norm_bias: see :class:`PixelNorm`.
    """

    def __init__(self, channels: int, kernel: int, expansion: float, bias: bool, norm_bias: bool) -> None:
        super().__init__()
        self.norm1 = PixelNorm(channels, norm_bias)
        self.mixer = Mixer(channels, kernel, bias)
        self.norm2 = PixelNorm(channels, norm_bias)
        self.ffn = GatedFeedForward(channels, expansion, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape. Fastest in channels_last memory, which the result keeps."""
        mixed = _add(self.mixer(self.norm1(x)), x)
        return _add(self.ffn(self.norm2(mixed)), x)


class Resample(nn.Module):
    """The step from one level to the next: a 3×3 convolution without bias, then a pixel (un)shuffle.

    Args:
        channels: input channels.
        convolved: output channels of the convolution, whose published name is ``body.0``.
        rearrange: ``nn.PixelUnshuffle(2)`` or ``nn.PixelShuffle(2)``.
    """

    def __init__(self, channels: int, convolved: int, rearrange: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, convolved, 3, padding=1, bias=False), rearrange)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to half or double the size, in channels_last memory."""
        return self.body(x).contiguous(memory_format=torch.channels_last)


# Large maps take longer to allocate than to compute, so tensors without other users are overwritten.


def _add(fresh: Tensor, x: Tensor) -> Tensor:
    """Return the sum, in the memory of the first tensor if the dtypes agree."""
    return fresh.add_(x) if fresh.dtype == x.dtype else fresh + x


def _gelu(fresh: Tensor) -> Tensor:
    """Return the exact GELU, in place unless gradients need the input."""
    if torch.is_grad_enabled():
        return F.gelu(fresh)
    return torch.ops.aten.gelu_(fresh)


def _times(fresh: Tensor, x: Tensor) -> Tensor:
    """Return the product, in the memory of the first tensor unless gradients need it."""
    return fresh * x if torch.is_grad_enabled() else fresh.mul_(x)


def _depthwise(channels: int, kernel: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=bias)
