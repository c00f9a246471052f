"""PlainUNet: a minimal restoration network, as an example and for tests."""

from __future__ import annotations

from torch import Tensor, nn

from basicsr.archs.encoder_decoder import encode_decode
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import ParameterShapes, PlainBlock, prior_channels, recognised_by
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive

_MOST_LEVELS = 16


@ARCH_REGISTRY.register()
class PlainUNet(nn.Module):
    """A U-Net of convolutions and ReLU, with added skip connections and a global residual (arXiv 1505.04597).

    Input (B, img_channel + prior_channels, H, W) float in [0, 1], any H, W (reflected below and to the right to a
    multiple of 2^levels). Output (B, img_channel, H, W), not clamped. The receptive field is finite, so tiles give
    exact results.

    Args:
        img_channel: input and output image channels.
        width: channels of the first level; doubled at every level.
        levels: number of times the size is halved, at most 16.
        prior_channels: additional input channels after the image.
    """

    def __init__(
        self,
        img_channel: Positive = 3,
        width: Positive = 16,
        levels: NotNegative = 2,
        *,
        prior_channels: NotNegative = 0,
    ) -> None:
        super().__init__()
        if levels > _MOST_LEVELS:
            raise ArgumentError(f'levels is {levels}; images are halved at most {_MOST_LEVELS} times')
        widths = [width * 2**level for level in range(levels + 1)]
        self.img_channel = img_channel
        self.in_channels = img_channel + prior_channels
        # Two 3×3 convolutions before and after every halving, one at each end, and the resampling.
        reach = 2 + sum(4 * 2**level + 2 ** (level + 1) for level in range(levels)) + 2 * 2**levels
        multiple = 2**levels
        self.input_rule = InputRule((multiple, multiple), padding='reflect', halo=reach)
        self.block_types = (nn.Sequential,)
        self.adds_image = True
        self.intro = nn.Conv2d(self.in_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_convolutions(c) for c in widths[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:-1])
        self.middle = _convolutions(widths[-1])
        self.ups = nn.ModuleList(nn.ConvTranspose2d(c, c // 2, 2, stride=2) for c in widths[:0:-1])
        self.decoders = nn.ModuleList(_convolutions(c) for c in widths[-2::-1])
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore (B, img_channel [+ prior], H, W) to (B, img_channel, H, W)."""
        check_image(lq, self.in_channels, type(self).__name__)
        padded = self.input_rule.pad(lq)
        restored = self.ending(encode_decode(self.intro(padded), self, self.middle)) + padded[:, : self.img_channel]
        return self.input_rule.crop(restored, *lq.shape[-2:])


def _convolutions(channels: int) -> nn.Sequential:
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@recognised_by('PlainUNet', 'intro.weight', 'ending.weight', 'middle.0.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    width, inputs, *_ = shapes.of('intro.weight')
    image = shapes.of('ending.weight')[0]
    more = prior_channels(image, inputs, prior)
    return {'img_channel': image, 'width': width, 'levels': shapes.count('downs.#.'), **more}
