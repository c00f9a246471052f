"""LaKDNet (arXiv 2302.02234): a U-Net with large depth-wise kernels for motion and defocus blur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.lakdnet_blocks import LaKDBlock, Resample
from basicsr.archs.pointwise import PointConv2d
from basicsr.archs.recognition import ParameterShapes, PlainBlock, prior_channels, recognised_by, shared_factor
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive

_LEVELS = 4


@ARCH_REGISTRY.register()
class LaKDNet(nn.Module):
    """LaKDNet for motion blur (7×7 kernels) and defocus (9×9), from one image or from dual-pixel views.

    Input (B, inp_channels + prior_channels, H, W) RGB float in [0, 1], any H, W (reflected below and to the right to a
    multiple of 8, cropped afterwards). The nine channels of a dual-pixel network are left view, right view and centre
    image. Output (B, out_channels, H, W). Published state_dict keys; the published sizes are ``dim`` 32 (S) and 48 (L)
    with ``num_blocks`` [8, 12, 12, 16].

    Args:
        inp_channels: image channels; 9 for dual-pixel.
        out_channels: output channels.
        dim: channels of the first level, even; doubled at every level.
        num_blocks: number of blocks of levels 1, 2 and 3 (in encoder and decoder) and of the bottleneck.
        mix_kernel_size: sizes of the depth-wise kernels of these four, all odd.
        ffn_expansion_factor: hidden channels of the feed-forward part relative to its input, rounded down.
        bias: use biases in the convolutions where they are optional.
        LayerNorm_type: type of layer norm; 'BiasFree' does not subtract the mean and has no bias.
        dual_pixel_task: add the residual to the centre image, the last out_channels of the input image.
        clip_output: clip the result to [0, 1] 'always' (the original), in 'eval' mode only, or 'never'. Clipped pixels
            have no gradient, which can stop dark and bright regions from learning at the start of a training.
        prior_channels: additional input channels after the image.

    Raises:
        ArgumentError: an even kernel, an odd ``dim``, or numbers of channels that do not match.
    """

    def __init__(
        self,
        inp_channels: Positive = 3,
        out_channels: Positive = 3,
        dim: Positive = 48,
        num_blocks: Sequence[NotNegative] = (4, 6, 6, 8),
        mix_kernel_size: Sequence[Positive] = (7, 7, 7, 7),
        ffn_expansion_factor: float = 2.3,
        bias: bool = False,
        LayerNorm_type: Literal['WithBias', 'BiasFree'] = 'WithBias',
        dual_pixel_task: bool = False,
        clip_output: Literal['always', 'eval', 'never'] = 'eval',
        *,
        prior_channels: NotNegative = 0,
    ) -> None:
        super().__init__()
        if len(num_blocks) != _LEVELS or len(mix_kernel_size) != _LEVELS:
            raise ArgumentError(
                f'LaKDNet: num_blocks and mix_kernel_size need {_LEVELS} numbers each, '
                f'got {list(num_blocks)} and {list(mix_kernel_size)}'
            )
        if any(kernel % 2 == 0 for kernel in mix_kernel_size):
            raise ArgumentError(f'LaKDNet: mix_kernel_size must be odd, got {list(mix_kernel_size)}; use 7 or 9')
        if dim % 2:
            raise ArgumentError(f'LaKDNet: dim must be even, got {dim}')
        if int(dim * ffn_expansion_factor) < 1:
            raise ArgumentError(f'LaKDNet: ffn_expansion_factor {ffn_expansion_factor}, dim {dim}: no channels left')
        if inp_channels != (3 * out_channels if dual_pixel_task else out_channels):
            raise ArgumentError(
                'LaKDNet: inp_channels must equal out_channels, or be three times as many with dual_pixel_task: true '
                f'(left, right and centre image); got {inp_channels} and {out_channels}'
            )
        self.img_channel, self.out_channels = inp_channels, out_channels
        self.in_channels = inp_channels + prior_channels
        self.clip_output = clip_output
        self.block_types = (LaKDBlock,)
        self.adds_image = True
        # The halo is finite, but 2046 pixels in the published sizes: larger than any tile.
        self.input_rule = InputRule((8, 8), padding='reflect', halo='global')
        widths = [dim, 2 * dim, 4 * dim, 8 * dim]

        def stage(level: int, channels: int) -> nn.Sequential:
            block = channels, mix_kernel_size[level], ffn_expansion_factor, bias, LayerNorm_type == 'WithBias'
            return nn.Sequential(*(LaKDBlock(*block) for _ in range(num_blocks[level])))

        self.embed = nn.Conv2d(self.in_channels, dim, 3, padding=1, bias=bias)
        self.encoder_level1 = stage(0, widths[0])
        self.down1_2 = Resample(widths[0], widths[0] // 2, nn.PixelUnshuffle(2))
        self.encoder_level2 = stage(1, widths[1])
        self.down2_3 = Resample(widths[1], widths[1] // 2, nn.PixelUnshuffle(2))
        self.encoder_level3 = stage(2, widths[2])
        self.down3_4 = Resample(widths[2], widths[2] // 2, nn.PixelUnshuffle(2))
        self.latent = stage(3, widths[3])
        self.up4_3 = Resample(widths[3], 2 * widths[3], nn.PixelShuffle(2))
        self.reduce_chan_level3 = PointConv2d(widths[3], widths[2], bias)
        self.decoder_level3 = stage(2, widths[2])
        self.up3_2 = Resample(widths[2], 2 * widths[2], nn.PixelShuffle(2))
        self.reduce_chan_level2 = PointConv2d(widths[2], widths[1], bias)
        self.decoder_level2 = stage(1, widths[1])
        self.up2_1 = Resample(widths[1], 2 * widths[1], nn.PixelShuffle(2))
        self.decoder_level1 = stage(0, widths[1])  # full resolution with the channels of the second level
        self.output = nn.Conv2d(widths[1], out_channels, 3, padding=1, bias=bias)

    def forward(self, lq: Tensor) -> Tensor:
        """Restore (B, inp_channels [+ prior], H, W) to (B, out_channels, H, W).

        Raises:
            ShapeError: the number of channels or the dtype is wrong.
        """
        check_image(lq, self.in_channels, type(self).__name__, advice=self._of_views())
        padded = self.input_rule.pad(lq)
        image = padded[:, : self.img_channel][:, -self.out_channels :]
        # pixel shuffle needs at least one image
        restored = self._residual(padded) + image if len(padded) else image
        if self.clip_output == 'always' or (self.clip_output == 'eval' and not self.training):
            restored = restored.clamp(0, 1)
        return self.input_rule.crop(restored, *lq.shape[-2:])

    def _of_views(self) -> str:
        if self.img_channel == self.out_channels:
            return 'the nine channels of a DualPixelDataset need a network with dual_pixel_task: true'
        return 'the input is left, right and centre image, as in a DualPixelDataset'

    def _residual(self, x: Tensor) -> Tensor:
        """Compute the residual of an image whose sides are multiples of 8."""
        x = x.contiguous(memory_format=torch.channels_last)  # layer norms and point-wise layers work pixel by pixel
        level1 = self.encoder_level1(self.embed(x))
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        x = self.up4_3(self.latent(self.down3_4(level3)))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, level3], 1)))
        x = self.up3_2(x)
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([x, level2], 1)))
        x = self.decoder_level1(torch.cat([self.up2_1(x), level1], 1))
        return self.output(x)


@recognised_by('LaKDNet', 'embed.weight', 'output.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    dim, inputs, *_ = shapes.of('embed.weight')
    outputs = shapes.of('output.weight')[0]
    dual = inputs - (prior or 0) == 3 * outputs
    image = 3 * outputs if dual else outputs
    stages = ('encoder_level1', 'encoder_level2', 'encoder_level3', 'latent')
    firsts = [f'{stage}.0.mixer.dense_depth_1.weight' for stage in stages]
    hidden = (shapes.of(key) for key in shapes if key.endswith('ffn.project_out.weight'))
    norm = next((key for key in shapes if key.endswith('norm1.body.weight')), 'norm1.body.weight')
    plain = norm in shapes and norm.replace('weight', 'bias') not in shapes
    return {
        'inp_channels': image,
        'out_channels': outputs,
        'dim': dim,
        'num_blocks': [shapes.count(f'{stage}.#.') for stage in stages],
        'mix_kernel_size': [shapes.of(first)[-1] if first in shapes else 7 for first in firsts],
        'ffn_expansion_factor': shared_factor(((shape[0], shape[1]) for shape in hidden), 2.3),
        'bias': 'embed.bias' in shapes,
        'LayerNorm_type': 'BiasFree' if plain else 'WithBias',
        'dual_pixel_task': dual,
        **prior_channels(image, inputs, prior),
    }
