"""Whether an output departs from its input as a collapse of the network does, where, and how to mend it.

Nobody has the ground truth of a photo, so the mode collapse rate cannot be computed. But deblurring moves light by no
more than the blur did: means over windows hardly change, no colours appear, fine detail grows by so much and not more.
A collapse breaks that: blobs of strange colour, checkers and mosaics, exploding contrast, values far out of range or no
numbers at all. Each limit below is 1.6 to 2.5 times the largest value between input and ground truth, a perfect
deblurring, in 98 real pairs (GoPro, REDS, Levin, Köhler; docs/deblur.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CELL = 16
"""Pixels along each side of the cells that the guard looks at."""
_BAND = 64 * CELL  # rows looked at in one go, so that large photos need little memory
_LEVELS = 4  # patterns with periods of about 2, 4, 8 and 16 pixels

_LIMITS = (  # kind, feature, side of the window in cells, limit
    ('colours', 'shift', 2, 0.38),
    ('colours', 'shift', 4, 0.21),
    ('colours', 'shift', 8, 0.17),
    ('colours', 'tint', 2, 0.20),
    ('colours', 'tint', 4, 0.10),
    ('pattern', 'detail0', 2, 0.075),
    ('pattern', 'detail1', 2, 0.125),
    ('pattern', 'detail2', 4, 0.09),
    ('pattern', 'detail3', 6, 0.085),
    ('contrast', 'contrast', 2, 0.34),
    ('contrast', 'contrast', 4, 0.16),
    ('range', 'excess', 2, 0.15),
)
_WORDS = {
    'numbers': 'values that are no numbers',
    'colours': 'strange colours',
    'pattern': 'a pattern that is not in the photo',
    'contrast': 'exploding contrast',
    'range': 'values far out of range',
}


@dataclass(frozen=True)
class Finding:
    """Where an output has collapsed, and how.

    Args:
        kinds: ``numbers`` (NaN or infinite), ``colours``, ``pattern``, ``contrast``, ``range``.
        cells: (h, w) boolean, one for each cell of ``CELL`` × ``CELL`` pixels, the last row and column smaller.
    """

    kinds: tuple[str, ...]
    cells: Tensor

    @property
    def share(self) -> float:
        """Of the picture that has collapsed, 0 to 1."""
        return float(self.cells.float().mean())

    def text(self) -> str:
        """For people."""
        signs = ', '.join(_WORDS[kind] for kind in self.kinds)
        return f'collapsed on {max(self.share, 0.001):.1%} of the picture ({signs})'


def find_collapse(lq: Tensor, output: Tensor) -> Finding | None:
    """Compare an output with its input.

    Args:
        lq: (1, C, H, W) float in [0, 1].
        output: of the same shape, not clamped.

    Returns:
        None if nothing is wrong.
    """
    found: dict[str, list[Tensor]] = {}
    for top in range(0, lq.shape[2], _BAND):
        rows = slice(top, top + _BAND)
        for name, cells in _features(lq[:, :, rows].float(), output[:, :, rows].float()).items():
            found.setdefault(name, []).append(cells)
    features = {name: torch.cat(parts, 2) for name, parts in found.items()}
    cells = features['broken'][0, 0] > 0
    kinds = ['numbers'] if cells.any() else []
    for kind, name, side, limit in _LIMITS:
        window = min(side, cells.shape[0]), min(side, cells.shape[1])
        beyond = _measure(features, name, window) > limit
        if beyond.any():
            kinds += [kind] if kind not in kinds else []
            under = _cells_under(beyond, window)
            culprits = under & (_measure(features, name, (1, 1)) > limit / 2)  # windows reach beyond the damage
            cells = cells | (culprits if culprits.any() else under)
    return Finding(tuple(kinds), cells) if kinds else None


def with_input_there(lq: Tensor, output: Tensor, finding: Finding) -> tuple[Tensor, float]:
    """The output with the input's pixels where it has collapsed, blended over the width of a cell.

    Args:
        lq: (1, C, H, W).
        output: of the same shape.
        finding: of :func:`find_collapse`.

    Returns:
        (1, C, H, W), all finite, and the share of the input in it, 0 to 1.
    """
    height, width = lq.shape[-2:]
    inner = finding.cells.to(lq)[None, None]
    rim = F.max_pool2d(inner, 3, 1, 1)  # has suffered too
    weight = F.interpolate(rim, scale_factor=CELL, mode='bilinear')
    weight = torch.maximum(weight, F.interpolate(inner, scale_factor=CELL))[..., :height, :width]
    finite = torch.where(output.isfinite(), output, lq)
    return finite + (lq - finite) * weight, float(weight.mean())


def _features(lq: Tensor, output: Tensor) -> dict[str, Tensor]:
    """Means over the cells, (1, C, h, w) each."""
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
    """Mean size of what alternates from pixel to pixel, along rows or columns, in each cell: (1, 2, h, w)."""
    wide = F.pad(gray, (1, 1, 1, 1), mode='replicate')
    inner = wide[..., 1:-1, 1:-1]
    along = (wide[..., 1:-1, :-2] - 2 * inner + wide[..., 1:-1, 2:]).abs() / 4
    down = (wide[..., :-2, 1:-1] - 2 * inner + wide[..., 2:, 1:-1]).abs() / 4
    means = F.avg_pool2d(torch.cat([along, down], 1), cell, cell, ceil_mode=True)
    return F.pad(means, (0, size[1] - means.shape[3], 0, size[0] - means.shape[2]))[..., : size[0], : size[1]]


def _cells(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, CELL, CELL, ceil_mode=True)


def _measure(features: dict[str, Tensor], name: str, window: tuple[int, int]) -> Tensor:
    """What is compared with a limit, for each window of so many cells: (h', w')."""

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
    """The cells (h, w) that lie in any of the windows (h', w')."""
    rows, columns = size[0] - 1, size[1] - 1
    padded = F.pad(windows.float()[None, None], (columns, columns, rows, rows))
    return F.max_pool2d(padded, size, 1)[0, 0] > 0
