"""The blocks of RSS-T: window attention, feed-forward, and a branch over the Fourier transform of the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.archs.rsst_attention import Padding, WindowAttention, Windows
from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.export_hooks import exporting

FeedForward = Literal['leff', 'ffn']
BlockType = Literal['rsst', 'LeWin']
SLOPE = 0.01  # of every LeakyReLU


class ConvAct(nn.Module):
    """A convolution with bias and zero padding, and a LeakyReLU; ``main.0`` is the published name.

    Args:
        inputs: input channels.
        outputs: output channels.
        kernel: kernel size.
        stride: stride.
        act: apply the LeakyReLU.
        transpose: use a transposed convolution that doubles the size (kernel 4, stride 2).
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
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        conv: Any = self.main[0]
        if exporting() and conv.stride == (2, 2) and not isinstance(conv, nn.ConvTranspose2d):
            # sizes are even, so the last padded row and column are not used; without them, the graph knows that the
            # result has half the size
            halved = F.conv2d(F.pad(x, (1, 0, 1, 0)), conv.weight, conv.bias, 2)
            return self.main[1:](halved)
        return self.main(x)


class LeFF(nn.Module):
    """Locally enhanced feed-forward: linear, depth-wise 3×3 over the map, linear; GELU after the first two.

    Args:
        dim: input and output channels.
        hidden_dim: hidden channels.
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
    """Feed-forward at each pixel.

    Args:
        in_features: input and output channels.
        hidden_features: hidden channels.
        drop: dropout rate.
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
    """The base of both block types: attention in shifted windows, then feed-forward on the normalised sum.

    The second residual starts from the **normalised** map, as published.

    Args:
        dim: channels.
        num_heads: number of attention heads.
        win_size: height and width of the full windows.
        idx: index of the block in its group; odd blocks shift their windows by half.
        token_mlp: 'leff' or 'ffn'.
        mlp_ratio: hidden channels of the feed-forward part relative to ``dim``.
        drop: dropout rate after attention and 'ffn'.
        drop_path: probability that a sample skips attention or feed-forward in training.
        attention: further arguments of :class:`~basicsr.archs.rsst_attention.WindowAttention`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        win_size: Sequence[int],
        idx: int = 0,
        token_mlp: FeedForward = 'leff',
        mlp_ratio: float = 4.0,
        drop: float = 0.0,
        drop_path: float = 0.0,
        **attention: Any,
    ) -> None:
        super().__init__()
        self.win_size, self.idx, self.drop_path = (win_size[0], win_size[1]), idx, drop_path
        hidden = int(dim * mlp_ratio)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, self.win_size, num_heads, proj_drop=drop, **attention)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = LeFF(dim, hidden) if token_mlp == 'leff' else Mlp(dim, hidden, drop)

    def forward(self, x: Tensor, padding: Padding = None) -> Tensor:
        """Map (B, H, W, C) to the same shape.

        Args:
            x: feature map.
            padding: the frame, or (B or 1, 1, H', W'), 1 on padded pixels; see :meth:`Windows.forbidden`.

        Raises:
            ShapeError: the windows do not divide the map.
        """
        windows = self.windows(x.shape[1], x.shape[2])
        tokens = self._tokens(x, windows)
        forbidden = windows.forbidden(padding, x.device, self.attn.relative_position_bias_table.dtype)
        x = x + self._dropped(windows.join(self.attn(tokens, windows.window, forbidden)))
        normalised = self.norm2(x)
        return normalised + self._dropped(self.mlp(normalised)) + self._beside(x)

    def windows(self, height: int, width: int) -> Windows:
        """Return the windows of a map of this size."""
        raise NotImplementedError

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        """Map (B, H, W, C) to normalised tokens (B, windows, T, C)."""
        raise NotImplementedError

    def _beside(self, x: Tensor) -> Tensor | float:
        """Return the result of an additional branch."""
        return 0.0

    def _dropped(self, x: Tensor) -> Tensor:
        """Apply stochastic depth: set random samples to zero and scale the others up."""
        if not self.training or self.drop_path == 0:
            return x
        keep = 1 - self.drop_path
        return x * (x.new_empty(len(x), 1, 1, 1).bernoulli_(keep) / keep)


class LeWinBlock(WindowBlock):
    """The block of Uformer: norm, then square windows. Arguments as for :class:`WindowBlock`.

    Raises:
        ArgumentError: the windows are not square.
    """

    def __init__(self, dim: int, num_heads: int, win_size: Sequence[int], idx: int = 0, **arguments: Any) -> None:
        super().__init__(dim, num_heads, win_size, idx, **arguments)
        if win_size[0] != win_size[1]:
            raise ArgumentError(f"trans_type 'LeWin' needs square windows, got {list(win_size)}; or use 'rsst'")

    def windows(self, height: int, width: int) -> Windows:
        """Return full windows, shifted on both axes, or on none if one window covers an axis."""
        side = self.win_size[0]
        several = exporting() or min(height, width) > side  # exported graphs do not accept such small images
        shift = side // 2 if self.idx % 2 and several else 0
        return Windows(height, width, self.win_size, (shift, shift))

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        return windows.cut(self.norm1(x)).flatten(2, 3)


class SpectralBlock(WindowBlock):
    """The block of RSS-T: a positional encoding within windows, and a branch over the spectrum of the whole map.

    Arguments as for :class:`WindowBlock`.
    """

    def __init__(self, dim: int, num_heads: int, win_size: Sequence[int], idx: int = 0, **arguments: Any) -> None:
        super().__init__(dim, num_heads, win_size, idx, **arguments)
        self.conv_fft = nn.Sequential(ConvAct(2 * dim, 2 * dim, 1), ConvAct(2 * dim, 2 * dim, 1, act=False))
        self.win_pos_embed = nn.Conv3d(dim, dim, 3, padding=1, groups=dim)

    def windows(self, height: int, width: int) -> Windows:
        """Return windows, reduced to the size of a smaller map. An axis that one window covers is not shifted."""
        rows, columns = self.win_size
        # exported graphs do not accept such small images
        several = exporting() or height > rows, exporting() or width > columns
        window = rows if several[0] else height, columns if several[1] else width
        odd = self.idx % 2 == 1
        shift = rows // 2 if odd and several[0] else 0, columns // 2 if odd and several[1] else 0
        return Windows(height, width, window, shift)

    def _tokens(self, x: Tensor, windows: Windows) -> Tensor:
        tokens = windows.cut(x)
        return self.norm1(tokens + self._window_encoding(tokens)).flatten(2, 3)

    def _window_encoding(self, tokens: Tensor) -> Tensor:
        """Convolve (B, windows, rows, columns, C) with ``win_pos_embed``, as the sum of a 2-D convolution per depth.

        The depth of the published 3-D convolution is the number of the window: the last window of a row is next to the
        first one of the row below. The backward pass of 3-D depth-wise convolutions in this memory format is very slow.
        """
        conv, images = self.win_pos_embed, tokens.flatten(0, 1).permute(0, 3, 1, 2)
        if exporting():  # other runtimes have one operator for it
            return conv(tokens.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1)
        before, same, after = (
            F.conv2d(images, weight, bias, padding=1, groups=conv.groups)
            .permute(0, 2, 3, 1)
            .unflatten(0, tokens.shape[:2])
            for weight, bias in zip(conv.weight.unbind(2), (None, conv.bias, None), strict=True)
        )
        return same + F.pad(before[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0)) + F.pad(after[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))

    def _beside(self, x: Tensor) -> Tensor:
        """Apply two point-wise layers to the half spectrum. Sums over the map would overflow in half precision."""
        with without_autocast(x):
            exact = x if x.dtype == torch.float64 else x.float()
            height, width = x.shape[1:3]
            spectrum = torch.fft.rfft2(exact.permute(0, 3, 1, 2).contiguous())
            parts = torch.view_as_real(spectrum).permute(0, 2, 3, 4, 1).flatten(3)  # real parts, then imaginary ones
            layers: Any = self.conv_fft
            parts = F.leaky_relu(_pointwise(layers[0].main[0], parts), SLOPE)
            parts = _of_real_map(_pointwise(layers[1].main[0], parts).unflatten(-1, (2, -1)), width)
            spectrum = torch.view_as_complex(parts.permute(0, 4, 1, 2, 3).contiguous())
            return torch.fft.irfft2(spectrum, s=(height, width)).permute(0, 2, 3, 1).to(x.dtype)


def _of_real_map(spectrum: Tensor, width: int) -> Tensor:
    """Make (B, H, W // 2 + 1, 2, C), real and imaginary parts, the half spectrum of a real map, in place.

    Column 0 and, for an even width, column W / 2 contain frequencies and their opposites. In the spectrum of a real map
    these are conjugates, but not after the layers. Inverse transforms treat them differently (GPUs mix both, CPUs use
    their mean). Using the mean here gives the same result on all devices.
    """

    def mean(column: Tensor) -> Tensor:
        opposite = column.flip(1).roll(1, 1)
        conjugate = torch.stack([opposite[..., 0, :], -opposite[..., 1, :]], -2)
        return (column + conjugate) / 2

    first, last = spectrum[:, :, :1], spectrum[:, :, -1:]
    first.copy_(mean(first))
    if exporting():  # a graph cannot depend on whether the width is even
        last.copy_(last + (width + 1) % 2 * (mean(last) - last))
    elif width % 2 == 0:
        last.copy_(mean(last))
    return spectrum


def _pointwise(conv: Any, x: Tensor) -> Tensor:
    """Apply a 1×1 convolution to (..., C) in the dtype of ``x``."""
    return F.linear(x, conv.weight.flatten(1).to(x.dtype), conv.bias.to(x.dtype))


BLOCKS: dict[str, type[WindowBlock]] = {'rsst': SpectralBlock, 'LeWin': LeWinBlock}


class TransGroup(nn.Module):
    """A row of blocks and a 3×3 convolution with LeakyReLU, with a residual around all of them.

    Args:
        trans_type: type of the blocks.
        dim: channels.
        depth: number of blocks.
        drop_path: probability for each block.
        arguments: of the blocks.
    """

    def __init__(
        self, trans_type: BlockType, dim: int, depth: int, drop_path: Sequence[float], **arguments: Any
    ) -> None:
        super().__init__()
        block = BLOCKS[trans_type]
        self.blocks = nn.ModuleList(block(dim, idx=i, drop_path=drop_path[i], **arguments) for i in range(depth))
        self.h_conv = ConvAct(dim, dim, 3)

    def forward(self, x: Tensor, padding: Padding = None) -> Tensor:
        """Map (B, C, H, W) to the same shape. Fastest in channels_last memory.

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
