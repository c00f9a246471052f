"""Point-wise convolutions as matrix products."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.export_hooks import exporting


class PointConv2d(nn.Conv2d):
    """A 1×1 convolution as one matrix product over the pixels; needs no copy in channels_last memory.

    Args:
        inputs: input channels.
        outputs: output channels.
        bias: add a bias.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W) in channels_last memory."""
        if exporting():  # other runtimes have fast convolutions, and would copy for the product
            return super().forward(x)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)

    def of_half(self, x: Tensor, part: int) -> Tensor:
        """Compute only the first (0) or second (1) half of the outputs, in separate memory."""
        weight = self.weight.flatten(1).chunk(2)[part]
        bias = None if self.bias is None else self.bias.chunk(2)[part]
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
