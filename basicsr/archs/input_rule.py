"""What a network asks of its input, as data: size rule, padding, value range, reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.utils.errors import ShapeError
from basicsr.utils.export_hooks import exporting, larger


@dataclass(frozen=True)
class InputRule:
    """The sizes and values a network works on, and how any other size is brought to them.

    Every restoration network carries one as ``net.input_rule``; its ``forward`` pads by it and crops, so callers
    never need to. Tiling and the mask prior read it.

    Args:
        multiple: height and width must be multiples of these.
        minimum: smallest height and width.
        padding: what stands in the added pixels: ``zeros``, ``reflect`` (edge pixel not repeated) or
            ``symmetric`` (edge pixel repeated).
        placement: ``end`` adds below and to the right, ``center`` on both sides (an odd pixel at the end).
        value_range: values the network was trained on.
        halo: pixels around an output pixel that can change it, or ``global`` if all of them can.
        tells_padding: the network treats added pixels in a way of its own: whoever pads in its place calls
            ``forward(x, real_size=(height, width))`` with the size before.
    """

    multiple: tuple[int, int] = (1, 1)
    minimum: tuple[int, int] = (1, 1)
    padding: Literal['zeros', 'reflect', 'symmetric'] = 'zeros'
    placement: Literal['end', 'center'] = 'end'
    value_range: tuple[float, float] = (0.0, 1.0)
    halo: int | Literal['global'] = 'global'
    tells_padding: bool = False

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that an input of ``height`` × ``width`` is padded to."""
        sizes = zip((height, width), self.multiple, self.minimum, strict=True)
        # of positive numbers only: exported graphs divide negative ones towards zero
        rows, columns = ((larger(size, least) + multiple - 1) // multiple * multiple for size, multiple, least in sizes)
        return rows, columns

    def pad(self, x: Tensor) -> Tensor:
        """Pad the last two dimensions; images, label maps and mask stacks of any dtype alike.

        Args:
            x: (..., H, W).

        Returns:
            (..., H', W'), ``x`` itself if nothing is to be added.
        """
        height, width = x.shape[-2:]
        rows, columns = self.padded_size(height, width)
        top, left = self._offset(rows - height), self._offset(columns - width)
        if not exporting() and (rows, columns) == (height, width):
            return x
        if self.padding == 'zeros':
            return F.pad(x, (left, columns - width - left, top, rows - height - top))
        x = x.index_select(-2, self._mirrored(rows, height, top, x.device))
        return x.index_select(-1, self._mirrored(columns, width, left, x.device))

    def crop(self, x: Tensor, height: int, width: int) -> Tensor:
        """Undo :meth:`pad`: the ``height`` × ``width`` pixels of (..., H', W') that are the input's."""
        top = self._offset(x.shape[-2] - height)
        left = self._offset(x.shape[-1] - width)
        if exporting():  # a view with gaps would make the graph ask for what sizes its strides are those of no view
            rows, columns = torch.arange(height, device=x.device) + top, torch.arange(width, device=x.device) + left
            return x.index_select(-2, rows).index_select(-1, columns)
        return x[..., top : top + height, left : left + width]

    def _offset(self, added: int) -> int:
        return added // 2 if self.placement == 'center' else 0

    def _mirrored(self, new: int, old: int, before: int, device: torch.device) -> Tensor:
        """Source index of each new row or column; reflections repeat if the padding exceeds the image."""
        position = torch.arange(new, device=device) - before
        if self.padding == 'symmetric':
            position = position.remainder(torch.full_like(position, 2 * old))
            return torch.where(position < old, position, 2 * old - 1 - position)
        period = larger(2 * old - 2, 1)
        position = position.remainder(
            torch.full_like(position, period)
        )  # sizes of exported graphs divide as tensors only
        return torch.where(position < old, position, period - position)


def check_image(
    x: Tensor, channels: int, name: str, value_range: tuple[float, float] = (0.0, 1.0), advice: str = ''
) -> None:
    """Refuse what is no batch of images with ``channels`` channels.

    Args:
        x: whatever a network is called with.
        channels: what the network takes.
        name: of the network, for messages.
        value_range: of its rule, for messages.
        advice: what other numbers of channels mean, for messages.

    Raises:
        ShapeError: ``x`` is not (B, channels, H, W), floating point, with H, W ≥ 1.
    """
    if not isinstance(x, Tensor):
        raise ShapeError(f'{name} expects a tensor (B, {channels}, H, W), got {type(x).__name__}')
    if x.dim() != 4 or x.shape[1] != channels or 0 in x.shape[-2:]:
        meaning = f': {advice}' if advice and x.dim() == 4 and x.shape[1] != channels else ''
        raise ShapeError(f'{name} expects (B, {channels}, H, W) with H, W ≥ 1, got {tuple(x.shape)}{meaning}')
    if not x.is_floating_point():
        black, white = value_range
        cure = 'divide by 255 first' if white == 1 else 'use .float()'
        raise ShapeError(f'{name} expects floating-point values in [{black:g}, {white:g}], got {x.dtype}; {cure}')
