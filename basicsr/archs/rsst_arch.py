"""RSS-T (ICCV 2023): deblur global-reset-release images, with blur that increases from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from basicsr.archs.input_rule import InputRule, check_image
from basicsr.archs.recognition import (
    ParameterShapes,
    PlainBlock,
    odd_factors,
    prior_channels,
    recognised_by,
    shared_factor,
)
from basicsr.archs.row_channel import row_numbers
from basicsr.archs.rsst_attention import Padding, Projection
from basicsr.archs.rsst_blocks import BlockType, ConvAct, FeedForward, TransGroup, WindowBlock
from basicsr.archs.rsst_scales import FAM, SCM, SEFF, every
from basicsr.utils.errors import ArgumentError, WeightsError
from basicsr.utils.export_hooks import exporting
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.utils.signature import NotNegative, Positive, Share

_SCALES = 4
_DROP_SCALE = 0.1  # of whole channels of the features from the other scales, in training


def drop_path_rates(depths: Sequence[int], rate: float) -> list[float]:
    """Return the probability of stochastic depth of each block, encoder then decoder.

    It increases linearly over the encoder and decreases over the decoder, whose first block has the highest one.

    Args:
        depths: number of blocks of the groups, four of the encoder and four of the decoder.
        rate: probability of the encoder's last block.

    Raises:
        ArgumentError: the decoder has more blocks than the encoder.
    """
    encoder, decoder = sum(depths[:_SCALES]), sum(depths[_SCALES:])
    if decoder > encoder:
        raise ArgumentError(
            f'RSST: the decoder has {decoder} blocks, the encoder {encoder} (depths {list(depths)}); the decoder '
            'must not have more, because its stochastic depth mirrors the encoder'
        )
    rising: list[float] = torch.linspace(0, rate, encoder, device='cpu').tolist()
    return rising + rising[::-1][:decoder]


@ARCH_REGISTRY.register()
class RSST(nn.Module):
    """RSS-T: a pyramid of transformer blocks with the row number of every pixel as input, and four outputs.

    Input (B, 3 + prior_channels, H, W) RGB float in [0, 1], any H, W, zero-padded on all sides to multiples of eight
    windows; attention masks the padding. Returns four images, not clamped: at 1/8, 1/4 and 1/2 of the padded size, and
    last the result (B, 3, H, W). Published state_dict keys; the published network has ``win_size`` [4, 16] and
    ``trans_type`` 'rsst'.

    Args:
        base_channel: channels of the largest scale; doubled at every smaller scale.
        win_size: height and width of the windows.
        token_projection: 'linear', or 'linear_concat' with twice as many keys and values.
        token_mlp: 'leff' (with a depth-wise convolution) or 'ffn'.
        trans_type: 'rsst', or 'LeWin' (square windows, without window encoding and spectral branch).
        se_layer: add a squeeze-and-excitation gate after every attention; unused in published networks.
        drop_path_rate: maximum probability of stochastic depth.
        mlp_ratio: hidden channels of the feed-forward parts relative to their input.
        depths: number of blocks in each group: encoder from large to small scale, then decoder from small to large.
        num_heads: number of attention heads in each group.
        drop_rate: dropout rate.
        attn_drop_rate: dropout rate of attention weights.
        qkv_bias: use biases for queries, keys and values.
        qk_scale: scale of the queries; None is 1 / sqrt(channels of a head).
        prior_channels: additional input channels after the image, at the largest scale only.
        row_channel: give the number of its row to every pixel, at all scales; always so in published networks.
        row_unit: rows per unit of these numbers; 1 in published networks. Short trainings start better with numbers as
            large as pixel values: about the height of the images.
        zero_init: start as the identity, with zeros in the last convolutions, for short trainings; published networks
            start with random numbers.

    Raises:
        ArgumentError: ``depths`` or ``num_heads`` has not eight numbers, or channels, heads or windows do not match.
    """

    def __init__(
        self,
        base_channel: Positive = 32,
        win_size: tuple[Positive, Positive] = (8, 8),
        token_projection: Projection = 'linear',
        token_mlp: FeedForward = 'leff',
        trans_type: BlockType = 'LeWin',
        se_layer: bool = False,
        drop_path_rate: Annotated[float, Ge(0), Lt(1)] = 0.1,
        mlp_ratio: float = 4.0,
        depths: Sequence[NotNegative] = (2, 2, 2, 2, 2, 2, 2, 2),
        num_heads: Sequence[Positive] = (1, 2, 4, 8, 8, 4, 2, 1),
        drop_rate: Share = 0.0,
        attn_drop_rate: Share = 0.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        *,
        prior_channels: NotNegative = 0,
        row_channel: bool = True,
        row_unit: Annotated[float, Gt(0)] = 1.0,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if len(depths) != 2 * _SCALES or len(num_heads) != 2 * _SCALES:
            raise ArgumentError(f'RSST: depths and num_heads need 8 numbers, got {list(depths)} and {list(num_heads)}')
        if base_channel < 3:
            raise ArgumentError(f'RSST: base_channel must be at least 3, got {base_channel}')
        self.img_channel, self.out_channels = 3, 3
        self.in_channels = 3 + prior_channels
        self.row_channel, self.row_unit = row_channel, row_unit
        inputs = 4 if row_channel else 3
        rows, columns = win_size
        self.block_types = (WindowBlock,)
        self.adds_image = True
        self.input_rule = InputRule((8 * rows, 8 * columns), placement='center', tells_padding=True)
        rates = iter(drop_path_rates(depths, drop_path_rate))
        widths = [base_channel * 2**scale for scale in range(_SCALES)]

        def group(number: int, channels: int) -> TransGroup:
            return TransGroup(
                trans_type,
                channels,
                depths[number],
                [next(rates) for _ in range(depths[number])],
                num_heads=num_heads[number],
                win_size=win_size,
                token_projection=token_projection,
                token_mlp=token_mlp,
                mlp_ratio=mlp_ratio,
                qkv_bias=qkv_bias,
                qk_scale=qk_scale,
                drop=drop_rate,
                attn_drop=attn_drop_rate,
                se_layer=se_layer,
            )

        self.in_proj0 = ConvAct(inputs + prior_channels, widths[0], 3)
        self.pos_drop = nn.Dropout(drop_rate)
        self.trans_group0 = group(0, widths[0])
        for k in range(1, _SCALES):
            self.add_module(f'dowsample_{k - 1}', ConvAct(widths[k - 1], widths[k], 3, 2))  # the published spelling
            self.add_module(f'in_proj{k}', SCM(widths[k], inputs))
            self.add_module(f'fusion{k}', FAM(widths[k]))
            self.add_module(f'trans_group{k}', group(k, widths[k]))
        for j, channels in enumerate(widths[::-1]):
            if j > 0:
                self.add_module(f'upsample_{j - 1}', ConvAct(2 * channels, channels, 4, transpose=True))
                self.add_module(f'ScaleInfo{j}', SEFF(sum(widths), channels))
                self.add_module(f'merge{j}', ConvAct(2 * channels, channels, 1))
            self.add_module(f'd_trans_group{j}', group(_SCALES + j, channels))
            last = ConvAct(channels, 3, 3, act=False)
            if zero_init:
                for parameter in last.parameters():
                    nn.init.zeros_(parameter)
            self.add_module(f'out_proj{j}', last)

    def forward(
        self, lq: Tensor, real_size: tuple[int, int] | None = None, first_row: Tensor | None = None
    ) -> list[Tensor]:
        """Restore (B, 3 [+ prior], H, W).

        Args:
            lq: image and prior.
            real_size: height and width of the image, if ``lq`` is already padded by ``input_rule``.
            first_row: number of the first row of ``lq``, (B, 1, 1, 1), if it is a part of an image.

        Returns:
            (B, 3, H'/8, W'/8), (..., H'/4, W'/4), (..., H'/2, W'/2) of the padded size H', W', and (B, 3, H, W).

        Raises:
            ShapeError: the number of channels or the dtype is wrong.
        """
        check_image(lq, self.in_channels, type(self).__name__)
        size = lq.shape[-2:]
        padded = self.input_rule.pad(lq)
        if first_row is not None:  # of the padded image from here on
            first_row = first_row - self.input_rule.offset(padded.shape[-2], padded.shape[-1], *size)[0]
        *small, result = self.scales(padded, self._padding(padded, real_size or (size[0], size[1])), first_row)
        return [*small, self.input_rule.crop(result, *size)]

    def scales(self, x: Tensor, padding: Padding = None, first_row: Tensor | None = None) -> list[Tensor]:
        """Restore without padding and cropping.

        Args:
            x: (B, 3 [+ prior], H, W); at every scale, the windows must divide the map, or one window must cover it.
            padding: the frame of the image, or (B or 1, 1, H, W), 1 on padded pixels, else 0; only that of the first
                image is used.
            first_row: number of the first row of ``x``, (B, 1, 1, 1); None is 0.

        Returns:
            images at 1/8, 1/4, 1/2 and 1 of the size.

        Raises:
            ShapeError: the windows do not divide the maps.
        """
        if not len(x):  # FFT needs at least one image
            return [x[:, :3, :: 2**k, :: 2**k] for k in reversed(range(_SCALES))]
        part: Any = self.get_submodule
        image, prior = x[:, :3], x[:, 3:]
        inputs = torch.cat([image, row_numbers(x, first_row, self.row_unit)], 1) if self.row_channel else image
        levels = [every(inputs, 2**k).contiguous(memory_format=torch.channels_last) for k in range(_SCALES)]
        first = torch.cat([levels[0], prior], 1).contiguous(memory_format=torch.channels_last)
        features = [self.trans_group0(self.pos_drop(self.in_proj0(first)), padding)]
        for k in range(1, _SCALES):
            above, own = part(f'dowsample_{k - 1}')(features[-1]), part(f'in_proj{k}')(levels[k])
            features.append(part(f'trans_group{k}')(part(f'fusion{k}')(above, own), padding))
        outputs: list[Tensor] = []
        y = features[-1]
        for j in range(_SCALES):
            if j > 0:
                others = part(f'ScaleInfo{j}')(*features, scale=_SCALES - 1 - j)
                others = F.dropout2d(others, _DROP_SCALE, self.training)
                y = part(f'merge{j}')(torch.cat([part(f'upsample_{j - 1}')(y), others], 1))
            y = part(f'd_trans_group{j}')(y, padding)
            outputs.append(part(f'out_proj{j}')(y) + levels[_SCALES - 1 - j][:, :3])
        return outputs

    def _padding(self, padded: Tensor, real: tuple[int, int]) -> Padding:
        """Return what is padded; None without padding."""
        tall, wide = padded.shape[-2:]
        if exporting():  # a graph cannot depend on whether there is padding
            return 1 - self.input_rule.pad(torch.ones(1, 1, *real))
        if (tall, wide) == tuple(real):
            return None
        top, left = self.input_rule.offset(tall, wide, *real)
        return tall, wide, top, left, *real


@recognised_by('RSST', 'in_proj0.main.0.weight', 'out_proj3.main.0.weight')
def _arguments(shapes: ParameterShapes, prior: int | None) -> PlainBlock:
    width, inputs, *_ = shapes.of('in_proj0.main.0.weight')
    groups = [f'{kind}trans_group{k}' for kind in ('', 'd_') for k in range(_SCALES)]
    depths = [shapes.count(f'{group}.blocks.#.') for group in groups]
    rows = 'in_proj1.main.0.main.0.weight'  # takes image and row number, without prior
    own = shapes.of(rows)[1] if rows in shapes else 4
    block: PlainBlock = {'base_channel': width, 'depths': depths, **prior_channels(own, inputs, prior)}
    block |= {'row_channel': False} if own == 3 else {}
    firsts = [f'{group}.blocks.0.' for group, depth in zip(groups, depths, strict=True) if depth]
    if not firsts:
        return block
    part = firsts[0]
    table = 'attn.relative_position_bias_table'
    heads = iter([shapes.of(first + table, 2)[1] for first in firsts])
    leff = f'{part}mlp.linear1.0.weight' in shapes
    widening = 'mlp.linear1.0.weight' if leff else 'mlp.fc1.weight'
    hidden = (shapes.of(first + widening, 2)[::-1] for first in firsts)
    usual = (1, 2, 4, 8, 8, 4, 2, 1)
    return {
        **block,
        'win_size': list(_window(shapes.of(part + table, 2)[0])),
        'token_projection': 'linear_concat' if f'{part}attn.qkv.to_qkv.weight' in shapes else 'linear',
        'token_mlp': 'leff' if leff else 'ffn',
        'trans_type': 'rsst' if f'{part}win_pos_embed.weight' in shapes else 'LeWin',
        'se_layer': f'{part}attn.se_layer.fc.0.weight' in shapes,
        'mlp_ratio': shared_factor(((shape[0], shape[1]) for shape in hidden), 4.0),
        'num_heads': [next(heads) if depth else number for depth, number in zip(depths, usual, strict=True)],
        'qkv_bias': f'{part}attn.qkv.to_kv.bias' in shapes,
    }


def _window(entries: int) -> tuple[int, int]:
    """Return height and width of windows whose table of relative positions has this number of entries."""
    found = [((h + 1) // 2, (w + 1) // 2) for h, w in odd_factors(entries)]

    def unlikely(window: tuple[int, int]) -> tuple[bool, bool, int]:
        powers = all(side & (side - 1) == 0 for side in window)
        return window[0] != window[1], not powers, window[1] - window[0]

    if not found:
        raise WeightsError(f'unknown network: no window has {entries} relative positions')
    return min(found, key=unlikely)
