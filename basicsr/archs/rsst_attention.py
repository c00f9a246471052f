"""Attention in shifted windows with relative positions, for RSS-T and its Uformer-style variant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.constants import constants
from basicsr.utils.device import to_device
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.export_hooks import exporting

Projection = Literal['linear', 'linear_concat']
Forbidden = tuple[Tensor | None, Tensor]
Frame = tuple[int, int, int, int, int, int]
"""Size of a padded image, and the part of it that is real: height, width, top, left, real height, real width."""
Padding = Tensor | Frame | None
WINDOWS_AT_ONCE = 65535
"""Most windows in one call of attention on GPUs, up to torch 2.7 (pytorch issue 146704)."""
_REDUCTION = 16  # channels of a gate relative to its hidden channels
_NEVER = -100.0  # added to the scores of masked pairs of tokens; part of the published numbers


@dataclass(frozen=True)
class Windows:
    """The division of a feature map into windows.

    Args:
        height: of the map.
        width: of the map.
        window: height and width of a window.
        shift: rows and columns to roll the map by first.

    Raises:
        ShapeError: the windows do not divide the map.
    """

    height: int
    width: int
    window: tuple[int, int]
    shift: tuple[int, int]

    def __post_init__(self) -> None:
        if self.height % self.window[0] or self.width % self.window[1]:
            raise ShapeError(
                f'a feature map of {self.height}×{self.width} cannot be cut into windows of '
                f'{self.window[0]}×{self.window[1]}; pad the image by input_rule, or call forward, which does it'
            )

    @property
    def size(self) -> tuple[int, int]:
        """Size of the map."""
        return self.height, self.width

    @property
    def count(self) -> int:
        """Number of windows of one image."""
        return self.height // self.window[0] * (self.width // self.window[1])

    def cut(self, x: Tensor, rolled: bool = True) -> Tensor:
        """Map (B, H, W, C) to (B, windows, rows, columns, C), in raster order.

        Args:
            x: the map.
            rolled: roll it by the shift first.
        """
        if rolled and any(self.shift):
            x = x.roll((-self.shift[0], -self.shift[1]), (1, 2))
        rows, columns = self.window
        x = x.unflatten(2, (-1, columns)).unflatten(1, (-1, rows))
        return x.transpose(2, 3).flatten(1, 2)

    def join(self, x: Tensor) -> Tensor:
        """Undo :meth:`cut`: map (B, windows, rows · columns, C) to (B, H, W, C)."""
        rows, columns = self.window
        x = x.reshape(len(x), self.height // rows, self.width // columns, rows, columns, x.shape[-1])
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return x.roll(self.shift, (1, 2)) if any(self.shift) else x

    def forbidden(self, padding: Padding, device: torch.device, dtype: torch.dtype) -> Forbidden | None:
        """Return the scores to add for masked pairs of tokens, and the windows that have any.

        Masked are pairs that the roll brings together from opposite sides of the map, and pairs of padded tokens; real
        tokens may attend to padded ones. Only few windows have masked pairs: those at the seams of the roll and at the
        padding.

        Args:
            padding: the frame of the image, or (B or 1, 1, H', W'), 1 on padded pixels; only that of the first image is
                used. It may be larger than the map (nearest neighbours are used), and is cut without the shift.
            device: of the result.
            dtype: of the scores.

        Returns:
            indices of the windows (n,), and the scores (n, T, T); None without masked pairs. For exported graphs: None
            and the scores of all windows.
        """
        if padding is None and not any(self.shift):
            return None
        if exporting():
            return None, self._scores(*self._marks(padding if isinstance(padding, Tensor) else None))
        if isinstance(padding, Tensor):
            found = self._masked(padding)
        else:
            found = _masked_pairs(device, dtype, self.height, self.width, self.window, self.shift, padding)
        return (found[0].to(device), found[1].to(device, dtype)) if found else None

    def _marks(self, padding: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return for the tokens of each window the part of the map they come from, and whether they are padded."""
        region = torch.zeros(self.count, 1)
        padded = torch.zeros(self.count, 1, dtype=torch.bool)
        if any(self.shift):
            rows, columns = (_labels(*axis) for axis in zip(self.size, self.window, self.shift, strict=True))
            region = self.cut((3 * rows[:, None] + columns)[None, ..., None], rolled=False).reshape(self.count, -1)
        if padding is not None:
            small = F.interpolate(padding[:1].float().cpu(), size=self.size, mode='nearest')
            padded = self.cut(small.permute(0, 2, 3, 1), rolled=False).reshape(self.count, -1) > 0
        return region, padded

    def _masked(self, padding: Tensor | None) -> tuple[Tensor, ...]:
        """Return indices and scores of the windows with masked pairs; an empty tuple if there are none."""
        region, padded = self._marks(padding)
        touched = ((region != region[:, :1]).any(1) | padded.any(1)).nonzero()[:, 0]
        return (touched, self._scores(region[touched], padded[touched])) if len(touched) else ()

    @staticmethod
    def _scores(region: Tensor, padded: Tensor) -> Tensor:
        strangers = region[:, :, None] != region[:, None]
        outside = padded[:, :, None] & padded[:, None]
        return _NEVER * strangers + _NEVER * outside


def _labels(length: int, window: int, shift: int) -> Tensor:
    """Return a number for each position of the rolled axis: positions with equal numbers were contiguous before."""
    position = torch.arange(length)
    return (position >= length - window).int() + (position >= length - shift).int() if shift else position.mul(0).int()


@constants
def _masked_pairs(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, int], frame: Frame | None
) -> tuple[Tensor, ...]:
    """See :meth:`Windows.forbidden`."""
    padding = None
    if frame is not None:
        tall, wide, top, left, real_height, real_width = frame
        padding = torch.ones(1, 1, tall, wide)
        padding[..., top : top + real_height, left : left + real_width] = 0
    return Windows(height, width, window, shift)._masked(padding)


@constants
def _relative_positions(window: tuple[int, int]) -> tuple[Tensor, ...]:
    return (relative_positions(window),)


def relative_positions(window: tuple[int, int]) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a window: (T, T) int64.

    A window smaller than the full size uses the first rows of the table, not its centre, as published.
    """
    rows, columns = window
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij'))
    down, right = y[:, None] - y + rows - 1, x[:, None] - x + columns - 1
    return down * (2 * columns - 1) + right


def channel_gate(wide: int, reduction: int = _REDUCTION) -> nn.Sequential:
    """Return two linear layers with values from 0 to 1, (..., C) to (..., C), and C / reduction hidden channels."""
    hidden = wide // reduction
    down, up = nn.Linear(wide, hidden, bias=False), nn.Linear(hidden, wide, bias=False)
    return nn.Sequential(down, nn.ReLU(), up, nn.Sigmoid())


class SEGate(nn.Module):
    """A gate for each channel, from the mean over the tokens of a window (Uformer's squeeze and excitation).

    Args:
        channels: at least 16.

    Raises:
        ArgumentError: fewer than 16 channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels < _REDUCTION:
            raise ArgumentError(f'se_layer needs {_REDUCTION} channels or more, got {channels}; increase base_channel')
        self.fc = channel_gate(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gate (..., T, C)."""
        return x * self.fc(x.mean(-2, keepdim=True))


class _Projection(nn.Module):
    """Queries, keys and values. ``linear_concat`` adds a second set of keys and values from the same tokens."""

    def __init__(self, channels: int, bias: bool, kind: Projection) -> None:
        super().__init__()
        self.kind = kind
        if kind == 'linear':
            self.to_q = nn.Linear(channels, channels, bias)
        else:
            self.to_qkv = nn.Linear(channels, 3 * channels, bias)
        self.to_kv = nn.Linear(channels, 2 * channels, bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (..., T, C) to queries (..., T, C), keys and values (..., T or 2T, C)."""
        keys, values = self.to_kv(x).chunk(2, -1)
        if self.kind == 'linear':
            return self.to_q(x), keys, values
        queries, first_keys, first_values = self.to_qkv(x).chunk(3, -1)
        return queries, torch.cat([first_keys, keys], -2), torch.cat([first_values, values], -2)


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of each window, with a learned bias for each relative position.

    Args:
        dim: channels, a multiple of ``num_heads``.
        win_size: height and width of the full window, the size of the bias table.
        num_heads: number of attention heads.
        token_projection: 'linear', or 'linear_concat' with twice as many keys and values.
        qkv_bias: use biases for queries, keys and values.
        qk_scale: factor of the queries; None is (dim / num_heads)^-0.5.
        attn_drop: dropout rate of the attention weights.
        proj_drop: dropout rate of the result.
        se_layer: add a :class:`SEGate` after attention (no published network has it).

    Raises:
        ArgumentError: ``num_heads`` does not divide ``dim``.
    """

    relative_position_index: Tensor

    def __init__(
        self,
        dim: int,
        win_size: tuple[int, int],
        num_heads: int,
        token_projection: Projection = 'linear',
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        se_layer: bool = False,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ArgumentError(f'num_heads {num_heads} does not divide the {dim} channels of its level')
        self.win_size, self.num_heads = win_size, num_heads
        self.scale = qk_scale if qk_scale is not None else (dim // num_heads) ** -0.5
        self.attn_drop = attn_drop
        entries = math.prod(2 * side - 1 for side in win_size)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(entries, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer('relative_position_index', relative_positions(win_size), persistent=False)
        self.qkv = _Projection(dim, qkv_bias, token_projection)
        self.proj = nn.Linear(dim, dim)
        self.se_layer = SEGate(dim) if se_layer else nn.Identity()
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor, window: tuple[int, int] | None = None, forbidden: Forbidden | None = None) -> Tensor:
        """Apply attention within windows.

        Args:
            x: (B, windows, T, C), tokens in raster order.
            window: height and width of these windows; None is the full size.
            forbidden: see :meth:`Windows.forbidden`.

        Returns:
            (B, windows, T, C).
        """
        queries, keys, values = (self._heads(part) for part in self.qkv(x))
        bias = self._bias(window or self.win_size, keys.shape[-2])
        if forbidden is None:
            mixed = self._attend(queries, keys, values, bias)
        else:
            index, scores = forbidden
            scores = to_device(scores, x.device, bias.dtype)
            # with linear_concat, each token has two keys
            biases = bias + scores.repeat_interleave(keys.shape[-2] // x.shape[-2], -1)[:, None]
            biases = biases.repeat(len(x), 1, 1, 1)
            if index is None:
                mixed = self._attend(queries, keys, values, biases)
            else:  # compute the few windows with masked pairs again
                batch, count = x.shape[:2]
                index = to_device(index, x.device)
                index = (torch.arange(batch, device=x.device)[:, None] * count + index).flatten()
                some = self._attend(queries[index], keys[index], values[index], biases)
                mixed = self._attend(queries, keys, values, bias).index_copy(0, index, some)
        mixed = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return self.proj_drop(self.se_layer(mixed))

    def _heads(self, x: Tensor) -> Tensor:
        """Map (B, windows, T, C) to (B · windows, heads, T, C / heads)."""
        return x.flatten(0, 1).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def _bias(self, window: tuple[int, int], keys: int) -> Tensor:
        """Look up the bias (1, heads, T, keys)."""
        index = self.relative_position_index
        if window != self.win_size:
            (index,) = _relative_positions(index.device, torch.float32, window)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)[None]
        # with two sets of keys, each column is used for two adjacent keys, as published
        return bias.repeat_interleave(keys // bias.shape[-1], -1)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        dropout = self.attn_drop if self.training else 0.0
        bias = bias.to(queries.dtype)
        if not exporting():  # export would make the number of windows a constant
            bias = bias.expand(len(queries), -1, -1, -1)
        attend: Any = F.scaled_dot_product_attention
        if exporting() or len(queries) <= WINDOWS_AT_ONCE:
            return attend(queries, keys, values, bias, dropout, scale=self.scale)
        parts = zip(*(x.split(WINDOWS_AT_ONCE) for x in (queries, keys, values, bias)), strict=True)
        return torch.cat([attend(*part, dropout, scale=self.scale) for part in parts])
