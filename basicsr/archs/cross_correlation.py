"""Cross-correlations of all pairs of channels, near zero shift: what the analysis network reads blur from."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ShapeError
from basicsr.utils.export_hooks import exporting
from basicsr.utils.signature import NotNegative

DEAD = 1e-9
"""Standard deviation below which a channel counts as constant; its correlations are zero."""
AT_ONCE = 2**24
"""Bytes of products of spectra at once, where a row of pairs is not larger; fewer, larger steps keep threads busy."""


class CrossCorrelation(nn.Module):
    """Circular cross-correlations of normalised feature maps (arXiv 2004.02956), cropped around zero shift.

    Every map has its mean subtracted and is divided by its norm, so the correlation of a map with itself is 1 at zero
    shift; constant maps give zeros, and zeros as gradients. For the pairs (i, j) with i ≤ j, row by row:
    ``out[dy, dx] = Σ a_i[y + dy, x + dx] · a_j[y, x]``, indices modulo H and W. Computed in float32 at least, a row
    of pairs at a time, or a few small ones.

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
        if x.shape[0] == 0:  # transforms and variances of nothing are errors
            return x.new_zeros(0, self.out_channels(x.shape[1]), *(2 * shift + 1 for shift in self.max_shift))
        with without_autocast(x):
            maps = _normalised(x if x.dtype == torch.float64 else x.float())
            windows = _windows_around_zero(maps, self.max_shift)
            if self.add_flips:
                windows += [window.flip(-2, -1) for window in windows]
            return torch.cat(windows, 1).to(x.dtype)


def _normalised(x: Tensor) -> Tensor:
    """Maps of mean 0 and norm 1; constant ones become zero. The square root never sees a zero: no infinite gradient."""
    centred = x - x.mean((-2, -1), keepdim=True)
    variance = centred.var((-2, -1), correction=0, keepdim=True)
    alive = variance >= DEAD**2
    norm = (torch.where(alive, variance, 1) * (x.shape[-2] * x.shape[-1])).sqrt()
    return centred * (alive / norm)


def _windows_around_zero(maps: Tensor, max_shift: tuple[int, int]) -> list[Tensor]:
    """The correlations of (B, C, H, W), a few rows of pairs at a time: tensors (B, pairs, 2·my + 1, 2·mx + 1).

    They are a part of inverse transforms of products of spectra. Only that part is computed, as products with cosines
    and sines, which is much faster than whole transforms. Rows dy and -dy share theirs: their spectra are P ± iQ, with
    P the product with the cosines of dy, Q that with its sines.
    """
    (channels, height, width), (my, mx) = maps.shape[1:], max_shift
    down = _angles(torch.arange(my + 1), torch.arange(height), height)
    rows = torch.cat([down.cos(), down[1:].sin()]).to(maps)
    plain, turned = (matrix.to(maps) for matrix in _row_transforms(height, width, mx))
    spectra = torch.fft.rfft2(maps)
    if exporting():
        spectra = conjugates = torch.view_as_real(spectra)
    else:
        conjugates = spectra.conj().resolve_conj()
    at_once = 1 if exporting() else max(1, AT_ONCE // (spectra[:, 0].numel() * spectra.element_size()))
    matrices = rows, plain, turned
    return [
        _windows_of_rows(spectra[:, first:last], conjugates[:, first:], matrices)
        for first, last in _groups(channels, at_once)
    ]


def _products(spectra: Tensor, conjugates: Tensor) -> Tensor:
    """All products of (B, n, H, W') and (B, m, H, W'): (B, n, m, H, W', 2), real and imaginary parts.

    While a graph is written, real and imaginary part are a last dimension of both, and the second is not conjugated
    yet: other runtimes know little of complex numbers.
    """
    if not exporting():
        return torch.view_as_real(spectra[:, :, None] * conjugates[:, None])
    (a, b), (c, d) = spectra[:, :, None].unbind(-1), conjugates[:, None].unbind(-1)
    return torch.stack([a * c + b * d, b * c - a * d], -1)


def _windows_of_rows(spectra: Tensor, conjugates: Tensor, matrices: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The correlations of some i with all j from the first of them on; those of j < i are left out in the end."""
    rows, plain, turned = matrices
    count = spectra.shape[1], conjugates.shape[1]
    products = _products(spectra, conjugates).flatten(-2).flatten(0, 2)
    both = torch.bmm(rows.expand(len(products), -1, -1), products)  # (pairs, 2·my + 1, 2·(W/2 + 1))
    del products
    middle = len(rows) // 2 + 1
    even = torch.bmm(both[:, :middle], plain.expand(len(both), -1, -1))
    odd = torch.bmm(both[:, middle:], turned.expand(len(both), -1, -1))
    window: Tensor = torch.cat([(even[:, 1:] - odd).flip(1), even[:, :1], even[:, 1:] + odd], 1)
    window = window.unflatten(0, (-1, count[0] * count[1]))
    if count[0] == 1:
        return window
    pairs = torch.ones(count, dtype=torch.bool).triu().flatten().nonzero().squeeze(1)
    return window.index_select(1, pairs.to(window.device))


def _groups(channels: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Ranges of i, each of at most ``at_once`` pairs (i, j ≥ the first i), but at least one row of pairs."""
    first = 0
    while first < channels:
        last = min(channels, first + max(1, at_once // (channels - first)))
        yield first, last
        first = last


def _row_transforms(height: int, width: int, mx: int) -> tuple[Tensor, Tensor]:
    """Matrices from half a spectrum of rows to their values at -mx..mx; and from half a spectrum without a factor i.

    (2·(width // 2 + 1), 2·mx + 1) float64; real and imaginary part of each frequency in turn, as ``view_as_real`` has
    them. Frequencies but the first and the middle one count twice, for the conjugates that rfft2 leaves out.
    """
    half = width // 2 + 1
    angles = _angles(torch.arange(half), torch.arange(-mx, mx + 1), width)
    weight = torch.full((half, 1), 2.0, dtype=torch.float64)
    weight[0] = 1
    if width % 2 == 0:
        weight[-1] = 1
    weight = weight / (height * width)
    real, imaginary = weight * angles.cos(), -weight * angles.sin()
    return torch.stack([real, imaginary], 1).flatten(0, 1), torch.stack([imaginary, -real], 1).flatten(0, 1)


def _angles(first: Tensor, second: Tensor, period: int) -> Tensor:
    """2π · first · second / period, reduced to one turn in integers: exact for any size."""
    turns = first[:, None] * second
    return turns.remainder(torch.full_like(turns, period)).double() * (2 * math.pi / period)
