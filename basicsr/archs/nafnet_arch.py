"""NAFNet (arXiv 2204.04676), and NAFNetLocal with local pooling (TLC, arXiv 2112.04491)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

from basicsr.archs.contract import Prior
from basicsr.archs.encoder_decoder import encode_decode
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.local_pool import LocalAvgPool2d
from basicsr.archs.pointwise import PointConv2d
from basicsr.archs.recognition import ParameterShapes, PlainBlock, recognised_by
from basicsr.archs.row_channel import row_numbers
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of every pixel (NAFNet, section 3.2), biased variance.

    PyTorch's kernel computes the statistics in float32 or float64, so half precision cannot overflow.

    Args:
        channels: C of the (B, C, H, W) input.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W). In channels_last memory, no copy is needed."""
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class NAFBlock(nn.Module):
    """The nonlinear-activation-free block (NAFNet, section 3.3): two residual branches gated by products.

    A new block is the identity, because beta and gamma start at zero.

    Args:
        c: input and output channels.
    """

    def __init__(self, c: int) -> None:
        super().__init__()
        wide = 2 * c
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.conv1 = PointConv2d(c, wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = PointConv2d(c, c)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c, 1))
        self.conv4 = PointConv2d(c, wide)
        self.conv5 = PointConv2d(c, c)
        self.norm1 = LayerNorm2d(c)
        self.norm2 = LayerNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape. Fastest in channels_last memory, which the result keeps."""
        u = _simple_gate(self.conv2(self.conv1(self.norm1(x))))
        x = _add_branch(x, self.conv3(u * self.sca(u)), self.beta)
        v = self.conv5(_simple_gate(self.conv4(self.norm2(x))))
        return _add_branch(x, v, self.gamma)


def _add_branch(x: Tensor, branch: Tensor, scale: Tensor) -> Tensor:
    """Return x + scale · branch in the parameters' dtype: under autocast, the residual stream stays float32."""
    return torch.addcmul(x.to(scale.dtype), branch.to(scale.dtype), scale)


def _simple_gate(x: Tensor) -> Tensor:
    """Return the product of the two halves of the channels."""
    first, second = x.chunk(2, dim=1)
    return first * second


class NAFNetBody(nn.Module):
    """The layers of NAFNet, from a padded input to the restored image."""

    def _build(
        self,
        img_channel: int,
        extra_channels: int,
        width: int,
        middle_blk_num: int,
        enc_blk_nums: Sequence[int],
        dec_blk_nums: Sequence[int],
        own_channels: int = 0,
    ) -> None:
        levels, again = len(enc_blk_nums), len(dec_blk_nums)
        if levels != again:
            raise ArgumentError(f'enc_blk_nums has {levels} levels and dec_blk_nums {again}; they must be equal')
        widths = [width * 2**level for level in range(levels + 1)]
        self.img_channel = img_channel
        self.in_channels = img_channel + extra_channels
        self.bf16_safe = True
        self.block_types = (NAFBlock,)
        self.adds_image = True
        self.input_rule = InputRule(multiple=(2**levels, 2**levels))
        self.intro = nn.Conv2d(self.in_channels + own_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders = nn.ModuleList(_stage(c, n) for c, n in zip(widths, enc_blk_nums, strict=False))
        self.decoders = nn.ModuleList(_stage(c, n) for c, n in zip(widths[-2::-1], dec_blk_nums, strict=True))
        self.middle_blks = _stage(widths[-1], middle_blk_num)
        self.ups = nn.ModuleList(
            nn.Sequential(PointConv2d(c, 2 * c, bias=False), nn.PixelShuffle(2)) for c in widths[:0:-1]
        )
        self.downs = nn.ModuleList(nn.Conv2d(c, 2 * c, 2, stride=2) for c in widths[:-1])

    def _restore(self, x: Tensor) -> Tensor:
        """Restore an image, with additional channels after it, of a size that the input rule allows."""
        image = x[:, : self.img_channel]
        x = self.intro(x.contiguous(memory_format=torch.channels_last))  # faster on CPUs and tensor cores
        return self.ending(encode_decode(x, self, self.middle_blks)) + image


@ARCH_REGISTRY.register()
class NAFNet(NAFNetBody):
    """NAFNet: a U-Net of :class:`NAFBlock` with a global residual.

    Input (B, C, H, W) RGB float in [0, 1], any H, W (zero-padded below and to the right to a multiple of 2^levels,
    cropped afterwards). Output (B, img_channel, H, W), not clamped. Published state_dict keys.

    Args:
        img_channel: input and output image channels.
        mask: add an input channel after the image for gray masks divided by 255 (the CAT method).
        width: channels of the first level; doubled at every level.
        middle_blk_num: number of blocks at the lowest level.
        enc_blk_nums: number of blocks of each encoder level, first level first.
        dec_blk_nums: number of blocks of each decoder level, lowest level first; as many entries as enc_blk_nums.
        prior_channels: additional input channels after the image (and mask) for a prior such as region means.
        row_channel: give the number of its row to every pixel, as RSS-T does, for cameras that expose lower rows longer
            than upper ones.
        row_unit: rows per unit of these numbers.
    """

    def __init__(
        self,
        img_channel: Positive = 3,
        mask: bool = False,
        width: Positive = 16,
        middle_blk_num: NotNegative = 1,
        enc_blk_nums: Sequence[NotNegative] = (),
        dec_blk_nums: Sequence[NotNegative] = (),
        *,
        prior_channels: NotNegative = 0,
        row_channel: bool = False,
        row_unit: Annotated[float, Gt(0)] = 256.0,
    ) -> None:
        super().__init__()
        extra = int(mask) + prior_channels
        self._build(img_channel, extra, width, middle_blk_num, enc_blk_nums, dec_blk_nums, int(row_channel))
        self.prior_kind: Prior = 'gray' if mask else 'none'
        self.row_channel, self.row_unit = row_channel, row_unit

    def forward(self, lq: Tensor, first_row: Tensor | None = None) -> Tensor:
        """Restore ``lq``: (B, img_channel [+ mask] [+ prior], H, W) to (B, img_channel, H, W).

        Args:
            lq: image and prior.
            first_row: number of the first row of ``lq``, (B, 1, 1, 1), if it is a part of an image.
        """
        check_image(lq, self.in_channels, type(self).__name__)
        padded = self.input_rule.pad(lq)
        if self.row_channel:
            padded = torch.cat([padded, row_numbers(padded, first_row, self.row_unit)], 1)
        return self.input_rule.crop(self._restore(padded), *lq.shape[-2:])


def _stage(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(blocks)))


def use_local_pooling(net: NAFNetBody, train_size: Sequence[int], fast_imp: bool) -> None:
    """Replace the global means of ``net``'s blocks by windows of 1.5 × the training patch.

    The window of each level follows from a formula (TLC, section 3.3); no forward pass is needed.

    Args:
        net: a NAFNet; changed in place, its parameters stay.
        train_size: (B, C, H, W) of the training patches; only H and W matter.
        fast_imp: see :class:`~basicsr.archs.local_pool.LocalAvgPool2d`.

    Raises:
        ArgumentError: ``train_size`` is not four positive numbers.
    """
    if len(train_size) != 4 or min(train_size) < 1:
        raise ArgumentError(f'train_size must be (B, C, H, W) of the training patches, got {tuple(train_size)}')
    height, width = train_size[-2:]
    window = int(1.5 * height), int(1.5 * width)
    padded = net.input_rule.padded_size(height, width)
    levels = len(net.encoders)
    stages = [*enumerate(net.encoders), *((levels - 1 - i, stage) for i, stage in enumerate(net.decoders))]
    for level, stage in [*stages, (levels, net.middle_blks)]:
        feature = padded[0] >> level, padded[1] >> level
        for block in stage.modules():
            if isinstance(block, NAFBlock):
                block.sca[0] = LocalAvgPool2d.for_level(feature, (height, width), window, fast_imp)


@ARCH_REGISTRY.register()
class NAFNetLocal(NAFNet):
    """NAFNet with channel attention over windows of 1.5 × the training patch (TLC, for testing).

    Equal to NAFNet on images up to the size of the window; same state_dict. The published GoPro results use it.

    Args:
        img_channel: see NAFNet.
        mask: see NAFNet.
        width: see NAFNet.
        middle_blk_num: see NAFNet.
        enc_blk_nums: see NAFNet.
        dec_blk_nums: see NAFNet.
        train_size: (B, C, H, W) of the training patches; only H and W matter.
        fast_imp: use the original's faster approximation; results differ, and no published network uses it.
        prior_channels: see NAFNet.
        row_channel: see NAFNet.
        row_unit: see NAFNet.
    """

    def __init__(
        self, *args: Any, train_size: Sequence[Positive] = (1, 3, 256, 256), fast_imp: bool = False, **arguments: Any
    ) -> None:
        super().__init__(*args, **arguments)
        use_local_pooling(self, train_size, fast_imp)


def nafnet_body(shapes: ParameterShapes) -> PlainBlock:
    """Return the arguments that NAFNet and SegNAFNet share, from the shapes of their parameters."""
    levels = shapes.count('downs.#.')
    return {
        'img_channel': shapes.of('ending.weight')[0],
        'width': shapes.of('intro.weight')[0],
        'middle_blk_num': shapes.count('middle_blks.#.'),
        'enc_blk_nums': [shapes.count(f'encoders.{level}.#.') for level in range(levels)],
        'dec_blk_nums': [shapes.count(f'decoders.{level}.#.') for level in range(levels)],
    }


@recognised_by('NAFNet', 'intro.weight', 'ending.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    body = nafnet_body(shapes)
    extra = shapes.of('intro.weight')[1] - body['img_channel'] - (prior or 0)
    return body | ({'mask': True} if extra == 1 else {'prior_channels': extra} if extra else {})
