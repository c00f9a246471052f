"""PhotoUNet, the bundled network for photos: a U-Net of dense 3×3 convolutions at half the resolution."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.encoder_decoder import encode_decode
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import ParameterShapes, PlainBlock, prior_channels, recognised_by
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive

MEAN_BLOCKS = 3  # blocks of 8×8 pixels on each side of the pixel's own that count for its local mean


@ARCH_REGISTRY.register()
class PhotoUNet(nn.Module):
    """Residual blocks of dense convolutions on three levels of the pixel-unshuffled image (U-Net, arXiv 1505.04597).

    Dense convolutions do more arithmetic per value read than depth-wise ones, so processors run them faster. There is
    no normalisation over the image, so the receptive field is finite and tiles give exact results. An untrained network
    is the identity. Blur moves light and removes none, so the network changes no local mean: it adds its residual less
    the mean of that residual over the surrounding 56×56 pixels.

    Input (B, img_channel + prior_channels, H, W) float in [0, 1], any H, W (reflected below and to the right to a
    multiple of 8). Output (B, img_channel, H, W), not clamped.

    Args:
        img_channel: input and output image channels.
        width: channels of the first level, at half the resolution; doubled at every level.
        blocks: number of residual blocks of the three levels. The first two have this number in encoder and decoder.
        prior_channels: additional input channels after the image.

    Raises:
        ArgumentError: ``blocks`` has not three numbers.
    """

    def __init__(
        self,
        img_channel: Positive = 3,
        width: Positive = 32,
        blocks: list[Positive] | tuple[Positive, ...] = (2, 2, 6),
        *,
        prior_channels: NotNegative = 0,
    ) -> None:
        super().__init__()
        if len(blocks) != 3:
            raise ArgumentError(f'PhotoUNet: blocks must have three numbers, got {blocks}')
        self.img_channel = img_channel
        self.in_channels = img_channel + prior_channels
        self.bf16_safe = True
        self.block_types = (ResidualBlock,)
        self.adds_image = True
        widths = [width, 2 * width, 4 * width]
        # Each convolution adds one pixel of its level; halving and doubling the size add 14 each.
        # The local mean adds its blocks on one side, one for the interpolation, and the rest of the pixel's own block.
        reach = 2 * (4 * blocks[0] + 2) + 4 * 4 * blocks[1] + 8 * 2 * blocks[2] + 2 * (2 + 4 + 8)
        reach += 8 * (MEAN_BLOCKS + 2)
        self.input_rule = InputRule((8, 8), padding='reflect', halo=reach)
        self.intro = nn.Conv2d(4 * self.in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(c, n) for c, n in zip(widths[:2], blocks[:2], strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:2])
        self.middle = _blocks(widths[2], blocks[2])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, 2, stride=2) for c in widths[:0:-1])
        self.decoders = nn.ModuleList(_blocks(c, n) for c, n in zip(widths[1::-1], blocks[1::-1], strict=True))
        self.ending = nn.Conv2d(width, 4 * img_channel, 3, padding=1)
        for parameter in self.ending.parameters():
            nn.init.zeros_(parameter)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore (B, img_channel [+ prior], H, W) to (B, img_channel, H, W)."""
        check_image(lq, self.in_channels, type(self).__name__)
        padded = self.input_rule.pad(lq)
        x = encode_decode(self.intro(_unshuffled(padded)), self, self.middle)
        change = F.pixel_shuffle(self.ending(x), 2)
        restored = padded[:, : self.img_channel] + change - _local_mean(change)
        return self.input_rule.crop(restored, *lq.shape[-2:])


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with a ReLU between them, added to their input.

    Args:
        channels: input and output channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.second(F.relu(self.first(x)))


def _blocks(channels: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(number)))


def _local_mean(x: Tensor) -> Tensor:
    """Return the mean of (B, C, H, W) over about 56×56 pixels around each, interpolated between means of 8×8 blocks."""
    blocks = F.avg_pool2d(x, 8)
    means = F.avg_pool2d(blocks, 2 * MEAN_BLOCKS + 1, stride=1, padding=MEAN_BLOCKS, count_include_pad=False)
    return F.interpolate(means, scale_factor=8, mode='bilinear', align_corners=False)


def _unshuffled(x: Tensor) -> Tensor:
    """Map (B, C, H, W) to (B, 4·C, H/2, W/2) like ``F.pixel_unshuffle``, which does not work for B = 0."""
    batch, channels, height, width = x.shape
    parts = x.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return parts.reshape(batch, 4 * channels, height // 2, width // 2)


@recognised_by('PhotoUNet', 'intro.weight', 'ending.weight', 'middle.0.first.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    width, inputs, *_ = shapes.of('intro.weight')
    image = shapes.of('ending.weight')[0] // 4
    blocks = [shapes.count(f'{part}.#.') for part in ('encoders.0', 'encoders.1', 'middle')]
    return {'img_channel': image, 'width': width, 'blocks': blocks, **prior_channels(image, inputs // 4, prior)}
