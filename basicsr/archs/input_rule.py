"""The input requirements of a network: sizes, padding, value range, receptive field."""

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
    """The sizes and values that a network requires, and the padding to these sizes.

    A restoration network has it as ``net.input_rule``. Its ``forward`` pads and crops, so callers need not. Tiling and
    the mask prior read it.

    Args:
        multiple: height and width must be multiples of these.
        minimum: smallest height and width.
        padding: ``zeros``, ``reflect`` (edge pixel not repeated) or ``symmetric`` (edge pixel repeated).
        placement: ``end`` pads below and to the right, ``center`` on both sides (an odd pixel at the end).
        value_range: range of pixel values.
        halo: radius of the receptive field in pixels, or ``global``.
        tells_padding: the network treats padded pixels differently; a caller that pads for it passes the size before
            padding: ``forward(x, real_size=(height, width))``.
    """

    multiple: tuple[int, int] = (1, 1)
    minimum: tuple[int, int] = (1, 1)
    padding: Literal['zeros', 'reflect', 'symmetric'] = 'zeros'
    placement: Literal['end', 'center'] = 'end'
    value_range: tuple[float, float] = (0.0, 1.0)
    halo: int | Literal['global'] = 'global'
    tells_padding: bool = False

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size after padding of an input of ``height`` × ``width``."""
        sizes = zip((height, width), self.multiple, self.minimum, strict=True)
        # positive numbers only: exported graphs round the quotient of negative ones towards zero
        rows, columns = ((larger(size, least) + multiple - 1) // multiple * multiple for size, multiple, least in sizes)
        return rows, columns

    def pad(self, x: Tensor) -> Tensor:
        """Pad the last two dimensions of an image, label map or mask stack of any dtype.

        Args:
            x: (..., H, W).

        Returns:
            (..., H', W'); ``x`` itself if no padding is needed.
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

    def offset(self, tall: int, wide: int, height: int, width: int) -> tuple[int, int]:
        """Return row and column of the first original pixel in an image that was padded to ``tall`` × ``wide``."""
        return self._offset(tall - height), self._offset(wide - width)

    def crop(self, x: Tensor, height: int, width: int) -> Tensor:
        """Undo :meth:`pad`: return the ``height`` × ``width`` original pixels of (..., H', W')."""
        top, left = self.offset(x.shape[-2], x.shape[-1], height, width)
        if exporting():  # the strides of a view would make the graph depend on the size
            rows, columns = torch.arange(height, device=x.device) + top, torch.arange(width, device=x.device) + left
            return x.index_select(-2, rows).index_select(-1, columns)
        return x[..., top : top + height, left : left + width]

    def _offset(self, added: int) -> int:
        return added // 2 if self.placement == 'center' else 0

    def _mirrored(self, new: int, old: int, before: int, device: torch.device) -> Tensor:
        """Return the source index of each padded row or column. Reflections repeat if the padding exceeds the image."""
        position = torch.arange(new, device=device) - before
        if self.padding == 'symmetric':
            position = position.remainder(torch.full_like(position, 2 * old))
            return torch.where(position < old, position, 2 * old - 1 - position)
        period = larger(2 * old - 2, 1)
        position = position.remainder(torch.full_like(position, period))  # exported graphs only divide by tensors
        return torch.where(position < old, position, period - position)


def check_image(
    x: Tensor, channels: int, name: str, value_range: tuple[float, float] = (0.0, 1.0), advice: str = ''
) -> None:
    """Check that an input is a batch of images.

    Args:
        x: the input of a network.
        channels: input channels of the network.
        name: of the network, for messages.
        value_range: of its rule, for messages.
        advice: added to the message if the number of channels differs.

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
