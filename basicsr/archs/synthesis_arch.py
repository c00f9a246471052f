"""SynthesisNet: restore an image, given its blur kernel (arXiv 2004.02956)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.analysis_arch import checked_kernel_size
from basicsr.archs.contract import KernelRole
from basicsr.archs.guided_convolution import GuidedBlock
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import ParameterShapes, PlainBlock, odd_factors, recognised_by
from basicsr.archs.recognition import prior_channels as extra_channels
from basicsr.archs.same_padding import SameConv2d, SameConvTranspose2d, glorot
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive


class SynthesisStage(nn.Module):
    """One level of the decoder: enlarge, merge with the features of the encoder, apply a guided block."""

    def __init__(self, coarse: int, width: int, up_size: int, skip_size: int, block: GuidedBlock) -> None:
        super().__init__()
        self.up = SameConvTranspose2d(coarse, width, up_size)
        self.skip = SameConv2d(width, width, skip_size)
        self.fuse = nn.Conv2d(2 * width, width, 1)
        self.block = block

    def forward(self, x: Tensor, finer: Tensor, kernel: Tensor) -> Tensor:
        """Map (B, coarse, h, w), and (B, width, 2h, 2w) of the encoder, to (B, width, 2h, 2w)."""
        x = F.relu(self.fuse(torch.cat([F.relu(self.up(x)), self.skip(finer)], 1)))
        return self.block(x, kernel)


@ARCH_REGISTRY.register()
class SynthesisNet(nn.Module):
    """A U-Net whose convolutions are modulated by functions of the blur kernel (Kaufman and Fattal, CVPR 2020).

    Call ``net(lq, kernel)``: image (B, 3 [+ prior], H, W) RGB float in **[0, 255]**, any H, W (symmetric padding on
    both sides to a multiple of 2^n_levels); kernel (B, h, w), odd, at most ``max_kernel_size``, as from AnalysisNet.
    Output (B, 3, H, W) in [0, 255], not clamped, without a residual connection. The receptive field is finite.

    Args:
        n_levels: number of times the size is halved.
        conv_block_filter_size: kernel size of the guided convolutions.
        conv_block_n_features: channels of the first level.
        conv_block_size: number of guided convolutions in a block.
        activation: must be relu; a key of the original.
        is_blind: must be false; a key of the original, whose network without a kernel never ran.
        dense_block_size: number of fully connected layers from the kernel to the guidance of a block.
        use_additive_biases: shift features by the guidance.
        use_multiplitive_biases: scale features by the guidance (spelling of the original).
        guide_before_conv: modulate the input of the convolutions instead of their output.
        downsample_feature_multiplier: factor by which the number of channels grows per level.
        upsample_filter_size: kernel size of the transposed convolutions.
        downsample_filter_size: kernel size of the strided convolutions.
        max_kernel_size: height and width of the blur kernel, both odd.
        prior_channels: additional input channels after the image.
    """

    def __init__(
        self,
        n_levels: NotNegative = 4,
        conv_block_filter_size: Positive = 3,
        conv_block_n_features: Positive = 128,
        conv_block_size: Positive = 3,
        activation: Literal['relu'] = 'relu',
        is_blind: Literal[False] = False,
        dense_block_size: NotNegative = 2,
        use_additive_biases: bool = True,
        use_multiplitive_biases: bool = True,
        guide_before_conv: bool = False,
        downsample_feature_multiplier: Positive = 1,
        upsample_filter_size: Positive = 5,
        downsample_filter_size: Positive = 3,
        max_kernel_size: Sequence[Positive] = (85, 85),
        *,
        prior_channels: NotNegative = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = checked_kernel_size(max_kernel_size)
        self.img_channel, self.in_channels = 3, 3 + prior_channels
        self.kernel_role: KernelRole = 'takes'
        blocks, half = conv_block_size, conv_block_filter_size // 2
        levels = [2**level for level in range(n_levels)]
        down, up = downsample_filter_size, upsample_filter_size // 2 + 1
        reach = 1 + sum((2 * blocks * half + down + up) * step for step in levels) + blocks * half * 2**n_levels
        self.block_types = (GuidedBlock,)
        self.input_rule = InputRule(
            (2**n_levels, 2**n_levels), padding='symmetric', placement='center', value_range=(0.0, 255.0), halo=reach
        )

        def block(in_channels: int, width: int) -> GuidedBlock:
            values, guides = math.prod(self.kernel_size), (use_multiplitive_biases, use_additive_biases)
            sizes = conv_block_size, dense_block_size, conv_block_filter_size
            return GuidedBlock(in_channels, width, values, *sizes, *guides, guide_before_conv)

        widths = [conv_block_n_features * downsample_feature_multiplier**level for level in range(n_levels + 1)]
        inputs = [self.in_channels, *widths]
        self.enc = nn.ModuleList(block(a, b) for a, b in zip(inputs, widths[:-1], strict=False))
        self.down = nn.ModuleList(SameConv2d(width, width, downsample_filter_size, 2) for width in widths[:-1])
        self.mid = block(inputs[-2], widths[-1])
        self.dec = nn.ModuleList(
            SynthesisStage(coarse, width, upsample_filter_size, conv_block_filter_size, block(width, width))
            for width, coarse in itertools.pairwise(widths)
        )
        self.out = SameConv2d(widths[0], self.img_channel, conv_block_filter_size)
        glorot(self)

    def forward(self, lq: Tensor, kernel: Tensor | None = None) -> Tensor:
        """Restore ``lq``.

        Args:
            lq: (B, 3 [+ prior], H, W) in [0, 255].
            kernel: (B, h, w), or (1, h, w) for all images; zero-padded to max_kernel_size.

        Returns:
            (B, 3, H, W).

        Raises:
            ArgumentError: the kernel is missing.
            ShapeError: the image or the kernel has the wrong shape or dtype.
        """
        check_image(lq, self.in_channels, type(self).__name__, self.input_rule.value_range)
        flat = self._flat(kernel, lq)
        x = self.input_rule.pad(lq)
        skips = []
        for block, down in zip(self.enc, self.down, strict=True):
            x = block(x, flat)
            skips.append(x)
            x = down(x)
        x = self.mid(x, flat)
        for stage in reversed(self.dec):
            x = stage(x, skips.pop(), flat)
        return self.input_rule.crop(self.out(x), *lq.shape[-2:])

    def _flat(self, kernel: Tensor | None, lq: Tensor) -> Tensor:
        """Return kernels as rows, (B, max height · max width)."""
        name, (tall, wide) = type(self).__name__, self.kernel_size
        if kernel is None:
            raise ArgumentError(f'{name} needs the blur kernel as second argument; AnalysisSynthesisNet estimates it')
        if kernel.dim() != 3 or kernel.shape[0] not in (1, lq.shape[0]) or not kernel.is_floating_point():
            got = f'{kernel.dtype} {tuple(kernel.shape)}'
            raise ShapeError(f'{name} expects float kernels (B, h, w) with B = {lq.shape[0]} or 1, got {got}')
        height, width = kernel.shape[-2:]
        if height % 2 == 0 or width % 2 == 0:
            raise ShapeError(f'{name}: the sizes of a kernel must be odd, got {height}×{width}; pad it')
        if height > tall or width > wide:
            sizes = f'{height}×{width} is larger than {tall}×{wide}'
            raise ShapeError(f'{name}: the kernel {sizes}; scale image and kernel down, and the result up')
        rows, columns = (tall - height) // 2, (wide - width) // 2
        whole = F.pad(kernel, (columns, columns, rows, rows))
        return whole.flatten(1).expand(lq.shape[0], -1).to(lq.dtype)


@recognised_by('SynthesisNet', 'mid.convs.0.weight', 'out.weight')
def synthesis_arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    """Return the arguments of a SynthesisNet, from the shapes of its parameters."""
    levels = shapes.count('down.#.')
    _, width, side, _ = shapes.of('out.weight')
    first = 'enc.0.' if levels else 'mid.'
    out_channels, inputs, *_ = shapes.of(f'{first}convs.0.weight')
    multiplying, adding = (f'{first}{kind}.0.weight' for kind in ('mul', 'add'))
    guides = [shapes.of(key, 2) for key in (multiplying, adding) if key in shapes]
    dense = shapes.count('mid.fc.#.')
    block: PlainBlock = {
        'n_levels': levels,
        'conv_block_filter_size': side,
        'conv_block_n_features': width,
        'conv_block_size': shapes.count('mid.convs.#.'),
        'dense_block_size': dense,
        'use_additive_biases': adding in shapes,
        'use_multiplitive_biases': multiplying in shapes,
        'guide_before_conv': bool(guides) and guides[0][0] == inputs != out_channels,
        **extra_channels(3, inputs, prior),
    }
    if levels:
        widths = [shapes.of(f'{place}.convs.0.weight')[0] for place in (*(f'enc.{k}' for k in range(levels)), 'mid')]
        block['downsample_feature_multiplier'] = max(b // a for a, b in itertools.pairwise(widths))
        block['downsample_filter_size'] = shapes.of('down.0.weight')[-1]
        block['upsample_filter_size'] = shapes.of('dec.0.up.weight')[-1]
    values = shapes.of(f'{first}fc.0.weight', 2)[1] if dense else (guides[0][1] if guides else 0)
    if sides := odd_factors(values):
        block['max_kernel_size'] = list(sides[-1])
    return block
