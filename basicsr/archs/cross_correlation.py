"""Cross-correlations of all pairs of channels, near zero shift: what the analysis network reads blur from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ShapeError
from basicsr.utils.signature import NotNegative

DEAD = 1e-9
"""Standard deviation below which a channel counts as constant; its correlations are zero."""


class CrossCorrelation(nn.Module):
    """Circular cross-correlations of normalised feature maps (arXiv 2004.02956), cropped around zero shift.

    Every map has its mean subtracted and is divided by its norm, so the correlation of a map with itself is 1 at zero
    shift; constant maps give zeros, and zeros as gradients. For the pairs (i, j) with i ≤ j, row by row:
    ``out[dy, dx] = Σ a_i[y + dy, x + dx] · a_j[y, x]``, indices modulo H and W. Computed in float32 at least, one row of
    pairs at a time.

    Args:
        max_shift_y: shifts from -max_shift_y to max_shift_y rows.
        max_shift_x: the same for columns.
        add_flips: append all pairs once more, rotated by 180°: the correlations of (j, i).
    """

    def __init__(self, max_shift_y: NotNegative, max_shift_x: NotNegative, add_flips: bool = True) -> None:
        super().__init__()
        self.max_shift = max_shift_y, max_shift_x
        self.add_flips = add_flips

    def out_channels(self, channels: int) -> int:
        """How many maps come out for ``channels`` that go in."""
        return channels * (channels + 1) // 2 * (2 if self.add_flips else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Correlate.

        Args:
            x: (B, C, H, W) with H > max_shift_y, W > max_shift_x.

        Returns:
            (B, C(C+1)/2 or twice that, 2·max_shift_y + 1, 2·max_shift_x + 1), zero shift in the centre, in the dtype
            of ``x``.

        Raises:
            ShapeError: the maps are not larger than the shifts.
        """
        height, width = x.shape[-2:]
        if height <= self.max_shift[0] or width <= self.max_shift[1]:
            raise ShapeError(
                f'feature maps of {height}×{width} pixels cannot be correlated with shifts up to '
                f'{self.max_shift[0]}×{self.max_shift[1]}; they must be larger'
            )
        with without_autocast(x):
            maps = _normalised(x if x.dtype == torch.float64 else x.float())
            window = _Window(height, width, self.max_shift, maps)
            spectra = torch.fft.rfft2(maps) if x.shape[0] else maps.new_zeros(0, 1, 1, 1, dtype=torch.complex64)
            rows = [window.of(spectra[:, i : i + 1] * spectra[:, i:].conj()) for i in range(spectra.shape[1])]
            if self.add_flips:
                rows += [row.flip(-2, -1) for row in rows]
            return torch.cat(rows, 1).to(x.dtype)


def _normalised(x: Tensor) -> Tensor:
    """Maps of mean 0 and norm 1; constant ones become zero. The square root never sees a zero: no infinite gradient."""
    centred = x - x.mean((-2, -1), keepdim=True)
    variance = centred.var((-2, -1), correction=0, keepdim=True)
    alive = variance >= DEAD**2
    norm = (torch.where(alive, variance, 1) * (x.shape[-2] * x.shape[-1])).sqrt()
    return centred * (alive / norm)


class _Window:
    """The part around zero shift of inverse transforms, as products with cosines and sines.

    Only that part is computed; such products are much faster than whole inverse transforms. Rows ±dy share theirs.
    """

    def __init__(self, height: int, width: int, max_shift: tuple[int, int], like: Tensor) -> None:
        my, mx = max_shift
        # angles as multiples of a whole turn, reduced in integers: exact for any size
        down = _angles(torch.arange(my + 1), torch.arange(height), height)
        half = width // 2 + 1  # what rfft2 keeps; the other frequencies are the conjugates of these
        across = _angles(torch.arange(half), torch.arange(-mx, mx + 1), width)
        weight = torch.full((half, 1), 2.0, dtype=torch.float64)
        weight[0] = 1
        if width % 2 == 0:
            weight[-1] = 1
        weight = weight / (height * width)
        real, imaginary = weight * across.cos(), -weight * across.sin()
        # rows in the order of torch.view_as_real: real and imaginary part of each frequency in turn
        plain = torch.stack([real, imaginary], 1).flatten(0, 1)
        turned = torch.stack([imaginary, -real], 1).flatten(0, 1)  # for spectra that still have to be multiplied by i
        self._cosines, self._sines = down.cos().to(like), down[1:].sin().to(like)
        self._plain, self._turned = plain.to(like), turned.to(like)

    def of(self, spectrum: Tensor) -> Tensor:
        """(B, P, H, W/2 + 1) complex to (B, P, 2·my + 1, 2·mx + 1) real."""
        batch, pairs = spectrum.shape[:2]
        x = torch.view_as_real(spectrum.resolve_conj()).flatten(-2).flatten(0, 1)  # (B·P, H, 2·(W/2 + 1))
        even = (self._cosines.expand(len(x), -1, -1) @ x) @ self._plain
        odd = (self._sines.expand(len(x), -1, -1) @ x) @ self._turned
        above, below = even[:, 1:] - odd, even[:, 1:] + odd
        return torch.cat([above.flip(1), even[:, :1], below], 1).unflatten(0, (batch, pairs))


def _angles(first: Tensor, second: Tensor, period: int) -> Tensor:
    return (first[:, None] * second).remainder(period).double() * (2 * math.pi / period)
