"""Cross-correlations of all pairs of channels near zero shift, from which the analysis network estimates blur."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr.utils.constants import constants
from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ShapeError
from basicsr.utils.exact_products import exact_matmul
from basicsr.utils.export_hooks import exporting
from basicsr.utils.signature import NotNegative

DEAD = 1e-9
"""Channels with a smaller standard deviation count as constant; their correlations are zero."""
AT_ONCE = 2**24
"""Bytes of products of spectra per step, unless a row of pairs is larger. Few large steps keep threads busy."""
AT_ONCE_ON_GPU = 2**28


class CrossCorrelation(nn.Module):
    """Circular cross-correlations of normalised feature maps (arXiv 2004.02956), cropped around zero shift.

    The mean of each map is subtracted and the map is divided by its norm, so its correlation with itself is 1 at zero
    shift. Constant maps have zero correlations and gradients. For the pairs (i, j) with i ≤ j, row by row:
    ``out[dy, dx] = Σ a_i[y + dy, x + dx] · a_j[y, x]``, indices modulo H and W. Computed in float32 or float64, one or
    several rows of pairs at a time.

    Args:
        max_shift_y: largest vertical shift; rows from -max_shift_y to max_shift_y.
        max_shift_x: largest horizontal shift.
        add_flips: also append all correlations rotated by 180°: those of (j, i).
    """

    def __init__(self, max_shift_y: NotNegative, max_shift_x: NotNegative, add_flips: bool = True) -> None:
        super().__init__()
        self.max_shift = max_shift_y, max_shift_x
        self.add_flips = add_flips

    def out_channels(self, channels: int) -> int:
        """Return the number of output maps for ``channels`` input maps."""
        return channels * (channels + 1) // 2 * (2 if self.add_flips else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Correlate all pairs of channels.

        Args:
            x: (B, C, H, W) with H > max_shift_y, W > max_shift_x.

        Returns:
            (B, C(C+1)/2 or twice that, 2·max_shift_y + 1, 2·max_shift_x + 1) with zero shift in the centre, in the
            dtype of ``x``.

        Raises:
            ShapeError: the maps are not larger than the shifts.
        """
        height, width = x.shape[-2:]
        if height <= self.max_shift[0] or width <= self.max_shift[1]:
            most = f'{self.max_shift[0]}×{self.max_shift[1]}'
            raise ShapeError(f'feature maps of {height}×{width} pixels are too small for shifts up to {most}')
        if x.shape[0] == 0:  # torch cannot transform empty tensors
            return x.new_zeros(0, self.out_channels(x.shape[1]), *(2 * shift + 1 for shift in self.max_shift))
        with without_autocast(x):
            maps = _normalised(x if x.dtype == torch.float64 else x.float())
            windows = _windows_around_zero(maps, self.max_shift)
            if self.add_flips:
                windows += [window.flip(-2, -1) for window in windows]
            return torch.cat(windows, 1).to(x.dtype)


def _normalised(x: Tensor) -> Tensor:
    """Scale maps to mean 0 and norm 1. Constant maps become zero, and their gradients stay finite."""
    centred = x - x.mean((-2, -1), keepdim=True)
    variance = centred.var((-2, -1), correction=0, keepdim=True)
    alive = variance >= DEAD**2
    norm = (torch.where(alive, variance, 1) * (x.shape[-2] * x.shape[-1])).sqrt()
    return centred * (alive / norm)


def _windows_around_zero(maps: Tensor, max_shift: tuple[int, int]) -> list[Tensor]:
    """Return the correlations of (B, C, H, W), a few rows of pairs at a time: tensors (B, pairs, 2·my + 1, 2·mx + 1).

    The correlations are the centre of inverse transforms of products of spectra. Only the centre is computed, as
    products with cosines and sines, which is much faster than whole transforms. Rows dy and -dy share these products:
    their spectra are P ± iQ, where P is the product with the cosines of dy and Q the product with its sines.
    """
    (channels, height, width), (my, mx) = maps.shape[1:], max_shift
    if exporting():
        rows, plain, turned = (matrix.to(maps) for matrix in _transforms(height, width, my, mx))
    else:
        rows, plain, turned = _kept_transforms(maps.device, maps.dtype, height, width, my, mx)
    spectra = torch.fft.rfft2(maps)
    if exporting():
        spectra = conjugates = torch.view_as_real(spectra)
    else:
        conjugates = spectra.conj().resolve_conj()
    most = AT_ONCE if maps.device.type == 'cpu' else AT_ONCE_ON_GPU
    at_once = 1 if exporting() else max(1, most // (spectra[:, 0].numel() * spectra.element_size()))
    return [
        _windows_of_rows(spectra[:, first:last], conjugates[:, first:], rows, plain, turned)
        for first, last in _groups(channels, at_once)
    ]


def _products(spectra: Tensor, conjugates: Tensor) -> Tensor:
    """Multiply all pairs of (B, n, H, W') and (B, m, H, W'): (B, n, m, H, W', 2), real and imaginary parts.

    During export, both inputs have real and imaginary part as last dimension, and the second one is not conjugated,
    because other runtimes hardly support complex numbers.
    """
    if not exporting():
        return torch.view_as_real(spectra[:, :, None] * conjugates[:, None])
    (a, b), (c, d) = spectra[:, :, None].unbind(-1), conjugates[:, None].unbind(-1)
    return torch.stack([a * c + b * d, b * c - a * d], -1)


def _windows_of_rows(spectra: Tensor, conjugates: Tensor, rows: Tensor, plain: Tensor, turned: Tensor) -> Tensor:
    """Correlate some i with all j ≥ the first i, and drop the results with j < i."""
    count = spectra.shape[1], conjugates.shape[1]
    products = _products(spectra, conjugates).flatten(-2).flatten(0, 2)
    both = exact_matmul(rows.expand(len(products), -1, -1), products)  # (pairs, 2·my + 1, 2·(W/2 + 1))
    del products
    middle = len(rows) // 2 + 1
    even = exact_matmul(both[:, :middle], plain.expand(len(both), -1, -1))
    odd = exact_matmul(both[:, middle:], turned.expand(len(both), -1, -1))
    window = torch.cat([(even[:, 1:] - odd).flip(1), even[:, :1], even[:, 1:] + odd], 1)
    window = window.unflatten(0, (-1, count[0] * count[1]))
    if count[0] == 1:
        return window
    return window.index_select(1, *_pairs(window.device, window.dtype, *count))


@constants
def _pairs(first: int, second: int) -> tuple[Tensor, ...]:
    """Return the positions of pairs (i, j ≥ i) in a table of ``first`` × ``second``."""
    return (torch.ones(first, second, dtype=torch.bool).triu().flatten().nonzero().squeeze(1),)


def _groups(channels: int, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of i with at most ``at_once`` pairs (i, j ≥ the first i), but at least one row of pairs."""
    first = 0
    while first < channels:
        last = min(channels, first + max(1, at_once // (channels - first)))
        yield first, last
        first = last


def _transforms(height: int, width: int, my: int, mx: int) -> tuple[Tensor, ...]:
    """Return the matrices of :func:`_windows_of_rows`, float64."""
    down = _angles(torch.arange(my + 1), torch.arange(height), height)
    return torch.cat([down.cos(), down[1:].sin()]), *_row_transforms(height, width, mx)


_kept_transforms = constants(_transforms)


def _row_transforms(height: int, width: int, mx: int) -> tuple[Tensor, Tensor]:
    """Return matrices from half spectra of rows to values at -mx..mx; the second one for spectra without a factor i.

    Each is (2·(width // 2 + 1), 2·mx + 1) float64, with real and imaginary part of each frequency in turn, as in
    ``view_as_real``. All frequencies except the first and the middle one count twice, for the conjugates that rfft2
    omits.
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
    """Return 2π · first · second / period modulo 2π, reduced in integers and therefore exact for any size."""
    turns = first[:, None] * second
    return turns.remainder(torch.full_like(turns, period)).double() * (2 * math.pi / period)
