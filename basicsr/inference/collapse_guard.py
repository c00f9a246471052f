"""Detect a collapse of the network by comparing output and input, and blend the input in where it collapsed.

A photo has no ground truth, so the mode collapse rate cannot be computed. But deblurring moves light no further than
the blur did: means over windows hardly change, no new colours appear, and fine detail grows within limits. A collapse
violates this: patches of wrong colour, checkerboards and mosaics, excessive contrast, values far out of range, NaN.
Each limit below is 1.6 to 2.5 times the largest value between input and ground truth (a perfect deblurring) in 98 real
pairs (GoPro, REDS, Levin, Köhler; docs/deblur.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 16
"""Side of the cells that the guard compares, in pixels."""
_BAND = 64 * CELL  # rows compared at once, so that large photos need little memory
_LEVELS = 4  # patterns with periods of about 2, 4, 8 and 16 pixels

_LIMITS = {  # kind: feature, side of the window in cells, limit
    'colours': [('shift', 2, 0.38), ('shift', 4, 0.21), ('shift', 8, 0.17), ('tint', 2, 0.20), ('tint', 4, 0.10)],
    'pattern': [('detail0', 2, 0.075), ('detail1', 2, 0.125), ('detail2', 4, 0.09), ('detail3', 6, 0.085)],
    'contrast': [('contrast', 2, 0.34), ('contrast', 4, 0.16)],
    'range': [('excess', 2, 0.15)],
}
_WORDS = {
    'numbers': 'NaN or infinite values',
    'colours': 'wrong colours',
    'pattern': 'a pattern that is not in the photo',
    'contrast': 'excessive contrast',
    'range': 'values far out of range',
}


@dataclass(frozen=True)
class Finding:
    """A collapse: its kinds and where it is.

    Args:
        kinds: ``numbers`` (NaN or infinite), ``colours``, ``pattern``, ``contrast``, ``range``.
        cells: (h, w) boolean, one per cell of ``CELL`` × ``CELL`` pixels; the last row and column may be smaller.
    """

    kinds: tuple[str, ...]
    cells: Tensor

    @property
    def share(self) -> float:
        """Collapsed share of the image, 0 to 1."""
        return float(self.cells.float().mean())

    def text(self) -> str:
        """Return a description for users."""
        signs = ', '.join(_WORDS[kind] for kind in self.kinds)
        return f'collapsed on {max(self.share, 0.001):.1%} of the image ({signs})'


def find_collapse(lq: Tensor, output: Tensor) -> Finding | None:
    """Compare an output with its input and return the collapse, if any.

    Args:
        lq: (1, C, H, W) float in [0, 1].
        output: of the same shape, not clamped.

    Returns:
        None without a collapse.
    """
    found: dict[str, list[Tensor]] = {}
    for top in range(0, lq.shape[2], _BAND):
        rows = slice(top, top + _BAND)
        for name, cells in _features(lq[:, :, rows].float(), output[:, :, rows].float()).items():
            found.setdefault(name, []).append(cells)
    features = {name: torch.cat(parts, 2) for name, parts in found.items()}
    cells = features['broken'][0, 0] > 0
    kinds = ['numbers'] if cells.any() else []
    for kind, (name, side, limit) in ((kind, entry) for kind, limits in _LIMITS.items() for entry in limits):
        window = min(side, cells.shape[0]), min(side, cells.shape[1])
        beyond = _measure(features, name, window) > limit
        if beyond.any():
            kinds += [kind] if kind not in kinds else []
            under = _cells_under(beyond, window)
            culprits = under & (_measure(features, name, (1, 1)) > limit / 2)  # windows reach beyond the damage
            cells = cells | (culprits if culprits.any() else under)
    return Finding(tuple(kinds), cells) if kinds else None


def with_input_there(lq: Tensor, output: Tensor, finding: Finding) -> tuple[Tensor, float]:
    """Return the output with the input's pixels in the collapsed areas, blended over the width of a cell.

    Args:
        lq: (1, C, H, W).
        output: of the same shape.
        finding: from :func:`find_collapse`.

    Returns:
        (1, C, H, W), all finite; and the share of the input in it, 0 to 1.
    """
    height, width = lq.shape[-2:]
    inner = finding.cells.to(lq)[None, None]
    rim = F.max_pool2d(inner, 3, 1, 1)  # neighbouring cells are affected too
    weight = F.interpolate(rim, scale_factor=CELL, mode='bilinear')
    weight = torch.maximum(weight, F.interpolate(inner, scale_factor=CELL))[..., :height, :width]
    finite = torch.where(output.isfinite(), output, lq)
    return finite + (lq - finite) * weight, float(weight.mean())


def _features(lq: Tensor, output: Tensor) -> dict[str, Tensor]:
    """Return means over the cells, (1, C, h, w) each."""
    broken = ~output.isfinite().all(1, keepdim=True)
    output = torch.where(broken, lq, output)
    excess = (output - output.clamp(0, 1)).abs().amax(1, keepdim=True)
    shown = output.clamp(0, 1)
    features = {
        'broken': F.max_pool2d(broken.float(), CELL, CELL, ceil_mode=True),
        'excess': _cells(excess.clamp(max=1)),
        'shift': _cells(shown - lq),
        'before': _cells(lq),
        'before²': _cells(lq.square()),
        'after': _cells(shown),
        'after²': _cells(shown.square()),
    }
    before, after = lq.mean(1, keepdim=True), shown.mean(1, keepdim=True)
    size = features['shift'].shape[-2:]
    for level in range(_LEVELS):
        change = _detail(after, CELL >> level, size) - _detail(before, CELL >> level, size)
        features[f'detail{level}'] = change
        before, after = F.avg_pool2d(before, 2, ceil_mode=True), F.avg_pool2d(after, 2, ceil_mode=True)
    return features


def _detail(gray: Tensor, cell: int, size: torch.Size) -> Tensor:
    """Return the mean absolute second difference along rows and columns in each cell, (1, 2, h, w)."""
    wide = F.pad(gray, (1, 1, 1, 1), mode='replicate')
    inner = wide[..., 1:-1, 1:-1]
    along = (wide[..., 1:-1, :-2] - 2 * inner + wide[..., 1:-1, 2:]).abs() / 4
    down = (wide[..., :-2, 1:-1] - 2 * inner + wide[..., 2:, 1:-1]).abs() / 4
    means = F.avg_pool2d(torch.cat([along, down], 1), cell, cell, ceil_mode=True)
    return F.pad(means, (0, size[1] - means.shape[3], 0, size[0] - means.shape[2]))[..., : size[0], : size[1]]


def _cells(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, CELL, CELL, ceil_mode=True)


def _measure(features: dict[str, Tensor], name: str, window: tuple[int, int]) -> Tensor:
    """Return the feature that is compared with a limit, for each window of cells: (h', w')."""

    def over(key: str) -> Tensor:
        return F.avg_pool2d(features[key], window, 1)

    if name == 'shift':
        return over('shift').abs().amax((0, 1))
    if name == 'tint':
        shift = over('shift')
        return (shift - shift.mean(1, keepdim=True)).abs().amax((0, 1))
    if name == 'contrast':
        before = (over('before²') - over('before').square()).clamp(min=0).sqrt()
        after = (over('after²') - over('after').square()).clamp(min=0).sqrt()
        return (after - 2 * before).amax((0, 1))
    return over(name).amax((0, 1))


def _cells_under(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the cells (h, w) covered by any of the windows (h', w')."""
    rows, columns = size[0] - 1, size[1] - 1
    padded = F.pad(windows.float()[None, None], (columns, columns, rows, rows))
    return F.max_pool2d(padded, size, 1)[0, 0] > 0
