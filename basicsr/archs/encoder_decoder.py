"""The pass through the levels of a U-Net."""

from __future__ import annotations

from torch import Tensor, nn


def encode_decode(
    x: Tensor,
    encoders: nn.ModuleList,
    downs: nn.ModuleList,
    middle: nn.Module,
    ups: nn.ModuleList,
    decoders: nn.ModuleList,
) -> Tensor:
    """Encode features level by level, then decode them with skip connections by addition.

    Args:
        x: (B, C, H, W) features of the first level.
        encoders: of each level, the first level first.
        downs: halve the size, in the same order.
        middle: of the lowest level.
        ups: double the size, the lowest level first.
        decoders: of each level, in the same order.

    Returns:
        (B, C, H, W).
    """
    skips = []
    for encoder, down in zip(encoders, downs, strict=True):
        skips.append(encoder(x))
        x = down(skips[-1])
    x = middle(x)
    for up, decoder in zip(ups, decoders, strict=True):
        x = decoder(up(x) + skips.pop())
    return x
