"""AnalysisNet: estimate the blur kernel of an image from correlations of its features (arXiv 2004.02956)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.analysis_crop import AnalysisCrop, analysis_window, limit_of
from basicsr.archs.cross_correlation import CrossCorrelation
from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import ParameterShapes, PlainBlock, recognised_by
from basicsr.archs.same_padding import SameConv2d, crop_center, glorot
from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive

_GRAY = (0.2989, 0.5870, 0.1140)


def rgb_to_gray(x: Tensor) -> Tensor:
    """Convert (B, 3, H, W) RGB to (B, 1, H, W) with the weights of the original (their sum is 0.9999)."""
    red, green, blue = (channel * weight for channel, weight in zip(x.split(1, 1), _GRAY, strict=True))
    return red + green + blue


def standardize(x: Tensor, eps: float = 1e-7) -> Tensor:
    """Scale each channel of (B, C, H, W) to mean 0 and variance 1 over its pixels. Constant channels become zeros.

    Args:
        x: any floating dtype; computed in float32 or float64.
        eps: added to the (population) variance.
    """
    with without_autocast(x):
        wide = x if x.dtype == torch.float64 else x.float()
        wide = wide - wide[..., :1, :1]  # makes the mean of a constant exact, so that no rounding error is amplified
        return F.layer_norm(wide.contiguous(), wide.shape[-2:], eps=eps).to(x.dtype)


def normalize_kernel(x: Tensor, eps: float = 1e-7) -> Tensor:
    """Divide each kernel of (B, H, W) by the sum of its absolute values plus ``eps``. Zeros stay zeros."""
    wide = x if x.dtype == torch.float64 else x.float()
    return (wide / (wide.abs().sum((-2, -1), keepdim=True) + eps)).to(x.dtype)


class AnalysisLevel(nn.Module):
    """One scale of the analysis: features, their correlations, and a 1×1 convolution of these.

    Args:
        in_channels: image channels at this scale.
        features: output channels of each convolution.
        filter_size: size of the convolutions, which have no padding.
        depth: number of convolutions.
        reduced: number of correlated channels.
        correlation: computes the correlations.
        out_channels: output channels.
    """

    def __init__(
        self,
        in_channels: int,
        features: int,
        filter_size: int,
        depth: int,
        reduced: int,
        correlation: CrossCorrelation,
        out_channels: int,
    ) -> None:
        super().__init__()
        widths = [in_channels, *[features] * depth]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, filter_size) for a, b in itertools.pairwise(widths))
        self.reduce = nn.Conv2d(widths[-1], reduced, 1)
        self.correlation = correlation
        self.after_cc = nn.Conv2d(correlation.out_channels(reduced), out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, 2·shift + 1, 2·shift + 1) for any H, W."""
        for conv in self.convs:
            x = F.relu(conv(x))
        correlations = self.correlation(F.relu(self.reduce(x)))
        return F.relu(self.after_cc(correlations))


class KernelStage(nn.Module):
    """One level of the decoder: coarse kernel features are enlarged and merged with those of the next finer scale."""

    def __init__(self, channels: int, up_size: int, merge_size: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels, up_size, 2)
        self.merge = SameConv2d(2 * channels, channels, merge_size)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        """Map (B, C, h, w), and (B, C, H, W) of the finer scale, to (B, C, H, W)."""
        x = crop_center(F.relu(self.up(x)), *finer.shape[-2:])
        return F.relu(self.merge(torch.cat([finer, x], 1)))


@ARCH_REGISTRY.register()
class AnalysisNet(nn.Module):
    """A network that estimates a blur kernel, assumed to be the same everywhere (Kaufman and Fattal, CVPR 2020).

    Input (B, 3, H, W) RGB float in **[0, 255]**, H, W at least ``input_rule.minimum`` (193 in the published
    configuration). Output (B, *max_kernel_size), not negative, sum 1 (or 0 if no kernel was found); the row index is
    the vertical shift. After end-to-end training, the kernel is a code for :class:`SynthesisNet` and may not resemble
    the blur.

    Args:
        n_levels: number of scales; each has half the size of the previous one.
        max_kernel_size: height and width of the kernel, both odd.
        conv_block_size: number of convolutions at each scale.
        conv_block_n_features: channels of these convolutions.
        conv_block_filter_size: kernel size of these convolutions.
        activation: must be relu; a key of the original.
        n_downsample_features: image channels at the coarser scales.
        downsample_filter_size: kernel size of the convolutions between scales.
        n_upsampling_features: channels after the correlations.
        upsample_filter_size: kernel size of the transposed convolutions.
        cc_num_of_in_features: number of channels that are correlated with each other.
        is_add_flips: add the correlations rotated by 180°.
        filter_size_after_cc: kernel size of the decoder's convolutions.
        n_conv_filters_before_output: channels of the last convolutions.
        max_input_size: use only the centre of larger images: (height, width), or one number for a square.
        analysis_crop: ``reference`` uses a centre crop of one of the sizes that the original accepts; max_input_size
            limits its area. The kernel depends on the crop.
    """

    def __init__(
        self,
        n_levels: Positive = 4,
        max_kernel_size: Sequence[Positive] = (85, 85),
        conv_block_size: NotNegative = 3,
        conv_block_n_features: Positive = 64,
        conv_block_filter_size: Positive = 7,
        activation: Literal['relu'] = 'relu',
        n_downsample_features: Positive = 1,
        downsample_filter_size: Positive = 5,
        n_upsampling_features: Positive = 32,
        upsample_filter_size: Positive = 5,
        cc_num_of_in_features: Positive = 32,
        is_add_flips: bool = True,
        filter_size_after_cc: Positive = 3,
        n_conv_filters_before_output: Sequence[Positive] = (24, 16, 8),
        max_input_size: Positive | Sequence[Positive] | None = None,
        analysis_crop: AnalysisCrop = 'whole',
    ) -> None:
        super().__init__()
        self.kernel_size = checked_kernel_size(max_kernel_size)
        shifts = [(self.kernel_size[0] // 2, self.kernel_size[1] // 2)]
        for _ in range(n_levels - 1):
            shifts.append((-(-shifts[-1][0] // 2), -(-shifts[-1][1] // 2)))
        lost = conv_block_size * (conv_block_filter_size - 1)
        least = [max((shift[axis] + lost << level) + 1 for level, shift in enumerate(shifts)) for axis in (0, 1)]
        self.img_channel = self.in_channels = 3
        self.returns_image = False
        self.block_types = (AnalysisLevel, KernelStage)
        self.input_rule = InputRule(minimum=(least[0], least[1]), value_range=(0.0, 255.0))
        self.analysis_crop = analysis_crop
        self.limit_input(max_input_size)
        channels = [1] + [n_downsample_features] * (n_levels - 1)
        width = n_upsampling_features
        block = conv_block_n_features, conv_block_filter_size, conv_block_size, cc_num_of_in_features
        self.encoder = nn.ModuleList(
            AnalysisLevel(c, *block, CrossCorrelation(*shift, add_flips=is_add_flips), width)
            for c, shift in zip(channels, shifts, strict=True)
        )
        self.down = nn.ModuleList(SameConv2d(a, b, downsample_filter_size, 2) for a, b in itertools.pairwise(channels))
        stage = width, upsample_filter_size, filter_size_after_cc
        self.decoder = nn.ModuleList(KernelStage(*stage) for _ in range(n_levels - 1))
        widths = [width, *n_conv_filters_before_output]
        self.head = nn.ModuleList(SameConv2d(a, b, filter_size_after_cc) for a, b in itertools.pairwise(widths))
        self.out = SameConv2d(widths[-1], 1, 5)
        glorot(self)

    def limit_input(self, max_input_size: int | Sequence[int] | None) -> None:
        """Use only the centre of larger images.

        Args:
            max_input_size: height and width, one number for a square, None for no limit.

        Raises:
            ArgumentError: the size is not valid, or too small for this network.
        """
        limit, least = limit_of(max_input_size), self.input_rule.minimum
        if limit is not None and (limit[0] < least[0] or limit[1] < least[1]):
            needed = f'a kernel of {self.kernel_size} (H, W) needs at least {least[0]}×{least[1]}'
            raise ArgumentError(f'max_input_size {limit[0]}×{limit[1]} is too small; {needed}')
        self.max_input_size = limit

    @property
    def not_exportable(self) -> str | None:
        """Reason why export is not possible; see :func:`~basicsr.archs.contract.export_obstacle`."""
        if self.analysis_crop == 'whole' and self.max_input_size is None:
            return None
        return 'analysis_crop: reference or max_input_size: the part of the image that it uses depends on the size'

    def forward(self, lq: Tensor) -> Tensor:
        """Estimate the kernels of (B, 3, H, W), values 0 to 255.

        Raises:
            ShapeError: not a batch of images, or smaller than ``input_rule.minimum``.
        """
        name, (height, width) = type(self).__name__, lq.shape[-2:]
        check_image(lq, self.in_channels, name, self.input_rule.value_range)
        least = self.input_rule.minimum
        if height < least[0] or width < least[1]:
            raise ShapeError(
                f'{name} needs at least {least[0]}×{least[1]} pixels for a kernel of '
                f'{self.kernel_size[0]}×{self.kernel_size[1]}, got {height}×{width}; use a larger image'
            )
        top, left, tall, wide = analysis_window(height, width, self.max_input_size, self.analysis_crop)
        x = standardize(rgb_to_gray(lq[..., top : top + tall, left : left + wide]))
        found = [self.encoder[0](x)]
        for down, level in zip(self.down, self.encoder[1:], strict=True):
            x = down(x)
            found.append(level(x))
        x = found.pop()
        for stage in reversed(self.decoder):
            x = stage(x, found.pop())
        for conv in self.head:
            x = F.relu(conv(x))
        return normalize_kernel(F.relu(self.out(x)).squeeze(1))


def checked_kernel_size(size: Sequence[int]) -> tuple[int, int]:
    """Return height and width of blur kernels.

    Raises:
        ArgumentError: the size is not two odd numbers.
    """
    if len(size) != 2 or any(n < 1 or n % 2 == 0 for n in size):
        raise ArgumentError(f'max_kernel_size must be two odd numbers (height, width), got {list(size)}')
    return size[0], size[1]


@recognised_by('AnalysisNet', 'encoder.0.reduce.weight', 'out.weight')
def analysis_arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    """Return the arguments of an AnalysisNet, from the shapes of its parameters."""
    levels = shapes.count('encoder.#.reduce.')
    convs, head = shapes.count('encoder.0.convs.#.'), shapes.count('head.#.')
    correlated = shapes.of('encoder.0.reduce.weight')[0]
    read, pairs, *_ = shapes.of('encoder.0.after_cc.weight')
    block: PlainBlock = {
        'n_levels': levels,
        'conv_block_size': convs,
        'n_upsampling_features': read,
        'cc_num_of_in_features': correlated,
        'is_add_flips': pairs == correlated * (correlated + 1),
        'n_conv_filters_before_output': [shapes.of(f'head.{k}.weight')[0] for k in range(head)],
    }
    if convs:
        convolution = shapes.of('encoder.0.convs.0.weight')
        block['conv_block_n_features'], block['conv_block_filter_size'] = convolution[0], convolution[2]
    if levels > 1:
        block['n_downsample_features'], _, block['downsample_filter_size'], _ = shapes.of('down.0.weight')
        block['upsample_filter_size'] = shapes.of('decoder.0.up.weight')[-1]
    if levels > 1 or head:
        block['filter_size_after_cc'] = shapes.of(f'{"decoder.0.merge" if levels > 1 else "head.0"}.weight')[-1]
    return block
