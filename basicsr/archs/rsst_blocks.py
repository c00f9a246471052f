"""The blocks of RSS-T: window attention, then feed-forward, and a branch over the whole map's Fourier transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.rsst_attention import Projection, WindowAttention, Windows
from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.export_hooks import exporting

FeedForward = Literal['leff', 'ffn']
BlockType = Literal['rsst', 'LeWin']
SLOPE = 0.01  # of every LeakyReLU


class ConvAct(nn.Module):
    """A convolution with bias and zero padding, and a LeakyReLU; ``main.0`` is the published name.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side.
        stride: step.
        act: whether the LeakyReLU follows.
        transpose: the transposed convolution that doubles the size (kernel 4, stride 2).
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, act: bool = True, transpose: bool = False
    ) -> None:
        super().__init__()
        conv: nn.Module = (
            nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
            if transpose
            else nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
        )
        self.main = nn.Sequential(conv, nn.LeakyReLU(SLOPE)) if act else nn.Sequential(conv)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H', W')."""
        conv: Any = self.main[0]
        if exporting() and conv.stride == (2, 2) and not isinstance(conv, nn.ConvTranspose2d):
            # sizes are even, so the last padded row and column are not looked at; without them the graph knows that
            # the result has half the size
            halved = F.conv2d(F.pad(x, (1, 0, 1, 0)), conv.weight, conv.bias, 2)
            return self.main[1:](halved)
        return self.main(x)


class LeFF(nn.Module):
    """Locally enhanced feed-forward: linear, depth-wise 3×3 over the map, linear, each but the last with a GELU.

    Args:
        dim: channels in and out.
        hidden_dim: channels between.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Sequential(nn.Linear(dim, hidden_dim), nn.GELU())
        self.dwconv = nn.Sequential(nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1, groups=hidden_dim), nn.GELU())
        self.linear2 = nn.Sequential(nn.Linear(hidden_dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = self.dwconv(self.linear1(x).permute(0, 3, 1, 2))
        return self.linear2(x.permute(0, 2, 3, 1))


class Mlp(nn.Module):
    """Feed-forward for each pixel alone.

    Args:
        in_features: channels in and out.
        hidden_features: channels between.
        drop: dropout.
    """

    def __init__(self, in_features: int, hidden_features: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.fc2 = nn.Linear(hidden_features, in_features)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(x)))))


class WindowBlock(nn.Module):
    """What both block types share: attention in shifted windows, then feed-forward on the normalised sum.

    The second residual starts from the **normalised** map, as published.

    Args:
        dim: channels.
        num_heads: of the attention.
        win_size: height and width of the full windows.
        idx: number of the block in its group; odd ones shift their windows by half.
        token_projection: see :class:`~basicsr.archs.rsst_attention.WindowAttention`.
        token_mlp: 'leff' or 'ffn'.
        mlp_ratio: hidden channels of the feed-forward part / channels.
        qkv_bias: see WindowAttention.
        qk_scale: see WindowAttention.
        drop: dropout behind attention and 'ffn'.
        attn_drop: see WindowAttention.
        drop_path: probability that a sample goes without attention or feed-forward in training.
        se_layer: see WindowAttention.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        win_size: Sequence[int],
        idx: int = 0,
        token_projection: Projection = 'linear',
        token_mlp: FeedForward = 'leff',
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        drop_path: float = 0.0,
        se_layer: bool = False,
    ) -> None:
        super().__init__()
        self.win_size, self.idx, self.drop_path = (win_size[0], win_size[1]), idx, drop_path
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(
            dim, self.win_size, num_heads, token_projection, qkv_bias, qk_scale, attn_drop, drop, se_layer
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = LeFF(dim, hidden) if token_mlp == 'leff' else Mlp(dim, hidden, drop)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map (B, H, W, C) to the same shape.

        Args:
            x: feature map.
            padding: (B or 1, 1, H', W'), 1 on padded pixels; see :meth:`Windows.forbidden`.

        Raises:
            ShapeError: the windows do not divide the map.
        """
        windows = self.windows(x.shape[1], x.shape[2])
        tokens = self._tokens(x, windows)
        x = x + self._dropped(windows.join(self.attn(tokens, windows.window, windows.forbidden(padding))))
        normalised = self.norm2(x)
        return normalised + self._dropped(self.mlp(normalised)) + self._beside(x)

    def windows(self, height: int, width: int) -> Windows:
        """How a map of this size is cut; depends on nothing else."""
        raise NotImplementedError

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        """(B, H, W, C) to normalised tokens (B, windows, T, C)."""
        raise NotImplementedError

    def _beside(self, x: Tensor) -> Tensor | float:
        """What is added beside the feed-forward part."""
        return 0.0

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth: a sample is zeroed, or scaled up by as much as others were zeroed."""
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * (x.new_empty(len(x), 1, 1, 1).bernoulli_(keep) / keep)


class LeWinBlock(WindowBlock):
    """Uformer's block: norm, then square windows; arguments as :class:`WindowBlock`.

    Raises:
        ArgumentError: windows that are not square.
    """

    def __init__(self, dim: int, num_heads: int, win_size: Sequence[int], idx: int = 0, **arguments: Any) -> None:
        super().__init__(dim, num_heads, win_size, idx, **arguments)
        if win_size[0] != win_size[1]:
            raise ArgumentError(
                f"blocks of type 'LeWin' have square windows, got {list(win_size)}; use trans_type rsst"
            )

    def windows(self, height: int, width: int) -> Windows:
        """Full windows; shifted on both axes or, where one window fills an axis, on none."""
        side = self.win_size[0]
        several = exporting() or min(height, width) > side  # exported graphs take no image that one window covers
        shift = side // 2 if self.idx % 2 and several else 0
        return Windows(height, width, self.win_size, (shift, shift))

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        return windows.cut(self.norm1(x)).flatten(2, 3)


class SpectralBlock(WindowBlock):
    """RSS-T's block: a positional encoding within windows, and a branch over the spectrum of the whole map.

    Arguments as :class:`WindowBlock`.
    """

    def __init__(self, dim: int, num_heads: int, win_size: Sequence[int], idx: int = 0, **arguments: Any) -> None:
        super().__init__(dim, num_heads, win_size, idx, **arguments)
        self.conv_fft = nn.Sequential(ConvAct(2 * dim, 2 * dim, 1), ConvAct(2 * dim, 2 * dim, 1, act=False))
        self.win_pos_embed = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)

    def windows(self, height: int, width: int) -> Windows:
        """Windows shrink to a smaller map; an axis that one window fills is not shifted."""
        rows, columns = self.win_size
        # exported graphs take no image that one window covers
        several = exporting() or height > rows, exporting() or width > columns
        window = rows if several[0] else height, columns if several[1] else width
        odd = self.idx % 2 == 1
        shift = rows // 2 if odd and several[0] else 0, columns // 2 if odd and several[1] else 0
        return Windows(height, width, window, shift)

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        tokens = windows.cut(x)
        # depth is the number of the window: the last of a row of windows is next to the first of the row below
        encoding = self.win_pos_embed(tokens.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        return self.norm1(tokens + encoding).flatten(2, 3)

    def _beside(self, x: Tensor) -> Tensor:
        """Two point-wise layers over the half spectrum, in float32 at least: sums over the map overflow half types."""
        with without_autocast(x):
            exact = x if x.dtype == torch.float64 else x.float()
            height, width = x.shape[1:3]
            spectrum = torch.fft.rfft2(exact.permute(0, 3, 1, 2).contiguous())
            parts = torch.view_as_real(spectrum).permute(0, 2, 3, 4, 1).flatten(3)  # real parts, then imaginary ones
            layers: Any = self.conv_fft
            parts = F.leaky_relu(_pointwise(layers[0].main[0], parts), SLOPE)
            parts = _of_real_map(_pointwise(layers[1].main[0], parts).unflatten(-1, (2, -1)), width)
            spectrum = torch.view_as_complex(parts.permute(0, 4, 1, 2, 3).contiguous())
            result: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
            return result.permute(0, 2, 3, 1).to(x.dtype)


def _of_real_map(spectrum: Tensor, width: int) -> Tensor:
    """A half spectrum (B, H, W // 2 + 1, 2, C), real and imaginary parts, as that of a real map: changed in place.

    Columns 0 and, of an even width, W / 2 hold frequencies together with their opposites, which are conjugates in the
    spectrum of a real map, and are not behind the layers. What an inverse transform makes of that is its own affair
    (the one of GPUs mixes both, that of CPUs takes their mean); the mean is taken here, for all of them.
    """

    def mean(column: Tensor) -> Tensor:
        opposite = column.flip(1).roll(1, 1)
        conjugate = torch.stack([opposite[..., 0, :], -opposite[..., 1, :]], -2)
        return (column + conjugate) / 2

    first, last = spectrum[:, :, :1], spectrum[:, :, -1:]
    first.copy_(mean(first))
    if exporting():  # a graph cannot know whether the width is even
        last.copy_(last + (width + 1) % 2 * (mean(last) - last))
    elif width % 2 == 0:
        last.copy_(mean(last))
    return spectrum


def _pointwise(conv: Any, x: Tensor) -> Tensor:
    """A 1×1 convolution of (..., C), in the type of ``x``."""
    return F.linear(x, conv.weight.flatten(1).to(x.dtype), conv.bias.to(x.dtype))


BLOCKS: dict[str, type[WindowBlock]] = {'rsst': SpectralBlock, 'LeWin': LeWinBlock}


class TransGroup(nn.Module):
    """Blocks in a row, a 3×3 convolution with LeakyReLU, and a residual around all of it.

    Args:
        trans_type: type of the blocks.
        dim: channels.
        depth: number of blocks.
        drop_path: one probability for each block.
        arguments: of the blocks.
    """

    def __init__(
        self, trans_type: BlockType, dim: int, depth: int, drop_path: Sequence[float], **arguments: Any
    ) -> None:
        super().__init__()
        block = BLOCKS[trans_type]
        self.blocks = nn.ModuleList(block(dim, idx=i, drop_path=drop_path[i], **arguments) for i in range(depth))
        self.h_conv = ConvAct(dim, dim, 3)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Map (B, C, H, W) to the same shape; fastest in channels_last memory.

        Args:
            x: feature map.
            padding: see :class:`WindowBlock`.

        Raises:
            ShapeError: the windows do not divide the map.
        """
        if x.dim() != 4:
            raise ShapeError(f'a group of blocks expects (B, C, H, W), got {tuple(x.shape)}')
        y = x.permute(0, 2, 3, 1)
        for block in self.blocks:
            y = block(y, padding)
        return x + self.h_conv(y.permute(0, 3, 1, 2))
