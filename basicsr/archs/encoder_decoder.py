"""The pass through the levels of a U-Net."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def encode_decode(x: Tensor, net: Any, middle: nn.Module) -> Tensor:
    """Encode features level by level, then decode them with skip connections by addition.

    Args:
        x: (B, C, H, W) features of the first level.
        net: has a list of modules ``encoders`` for each level and ``downs`` that halve the size, the first level first,
            and of ``ups`` that double the size and ``decoders``, the lowest level first.
        middle: of the lowest level.

    Returns:
        (B, C, H, W).
    """
    skips = []
    for encoder, down in zip(net.encoders, net.downs, strict=True):
        skips.append(encoder(x))
        x = down(skips[-1])
    x = middle(x)
    for up, decoder in zip(net.ups, net.decoders, strict=True):
        x = decoder(up(x) + skips.pop())
    return x
