"""Convolutions with the padding "same" of Keras: the output has ⌈n / stride⌉ or n · stride samples.

If the padding is odd, the larger half is below and to the right. For even sizes and stride 2, this differs from
PyTorch's ``padding=kernel_size // 2`` by one pixel.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.export_hooks import larger


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after ``size`` samples for a convolution with ⌈size / stride⌉ outputs."""
    total = larger(((size + stride - 1) // stride - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv2d(nn.Conv2d):
    """A convolution with a square kernel, from (B, C, H, W) to (B, C', ⌈H / stride⌉, ⌈W / stride⌉)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        (top, bottom), (left, right) = (same_padding(size, kernel, stride) for size in x.shape[-2:])
        if (top, left) == (bottom, right):
            return F.conv2d(x, self.weight, self.bias, stride, (top, left))
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.weight, self.bias, stride)


class SameConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with a square kernel of at least the stride s: (B, C, H, W) to (B, C', s·H, s·W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 2) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve and crop. ``output_size`` is not used."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        whole = F.conv_transpose2d(x, self.weight, self.bias, stride, (kernel - stride) // 2)
        return whole[..., : stride * x.shape[-2], : stride * x.shape[-1]]


def crop_center(x: Tensor, height: int, width: int) -> Tensor:
    """Return the middle ``height`` × ``width`` of (..., H, W), from ``H // 2 - height // 2`` on."""
    top, left = x.shape[-2] // 2 - height // 2, x.shape[-1] // 2 - width // 2
    return x[..., top : top + height, left : left + width]


def glorot(net: nn.Module) -> None:
    """Initialise the layers of ``net`` as Keras does: uniform weights (Glorot and Bengio 2010), zero biases."""
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
