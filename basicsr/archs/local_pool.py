"""Test-time local converter (TLC, arXiv 2112.04491): means over windows instead of means over the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr.utils.device import without_autocast
from basicsr.utils.errors import ShapeError
from basicsr.utils.exact_products import exact_matmul
from basicsr.utils.export_hooks import exporting, smaller

# Two banded matrix products beat running sums on a CPU up to about this many multiplications a pixel, and always on
# a GPU. (720×1280 with the window of 256×256 training needs 760 at the first level and halves at each level below.)
_BANDED_LIMIT = 1000


class LocalAvgPool2d(nn.Module):
    """Mean over a sliding window, as a replacement for ``AdaptiveAvgPool2d(1)`` at test time.

    The exact form computes the mean over every window of min(kernel, size) pixels that fits, and repeats the edge
    values up to the size of the input. A window that covers the input gives the global mean, (B, C, 1, 1). No
    parameters.

    Args:
        kernel_size: window height and width in pixels of this feature map.
        fast_imp: the approximation of the original: windows at every r-th row and column, enlarged by nearest
            neighbour. Results differ; no published configuration uses it.
        max_reduction: largest row and column step r of the fast form.
    """

    def __init__(
        self, kernel_size: tuple[int, int], fast_imp: bool = False, max_reduction: tuple[int, int] = (5, 5)
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.fast_imp = fast_imp
        self.max_reduction = max_reduction

    @property
    def not_exportable(self) -> str | None:
        """Reason why export is not possible; see :func:`~basicsr.archs.contract.export_obstacle`."""
        return 'fast_imp: its step depends on divisors of the size' if self.fast_imp else None

    @classmethod
    def for_level(
        cls, feature: tuple[int, int], train: tuple[int, int], window: tuple[int, int], fast_imp: bool = False
    ) -> LocalAvgPool2d:
        """Return the pool of a feature map that has size ``feature`` at the training size ``train``.

        Args:
            feature: height and width of the feature map at the training size.
            train: training patch in pixels.
            window: window in image pixels, 1.5 × the training patch in the paper.
            fast_imp: see the class.
        """
        rows = feature[0] * window[0] // train[0], 5 * feature[0] // train[0]
        columns = feature[1] * window[1] // train[1], 5 * feature[1] // train[1]
        return cls((rows[0], columns[0]), fast_imp, (max(1, rows[1]), max(1, columns[1])))

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, H, W) to the same size, or to (B, C, 1, 1) if the window covers the input."""
        height, width = x.shape[-2:]
        if not exporting() and self.kernel_size[0] >= height and self.kernel_size[1] >= width:
            return x.mean((-2, -1), keepdim=True)
        with without_autocast(x):
            exact = x if x.dtype == torch.float64 else x.float()  # sums over windows are not accurate in half precision
            pooled = self._fast(exact) if self.fast_imp else self._exact(exact)
            return pooled.to(x.dtype)

    def _exact(self, x: Tensor) -> Tensor:
        if exporting():
            return _windows_of_any_size(_windows_of_any_size(x, -2, self.kernel_size[0]), -1, self.kernel_size[1])
        height, width = x.shape[-2:]
        rows, columns = min(height, self.kernel_size[0]), min(width, self.kernel_size[1])
        high, wide = height - rows + 1, width - columns + 1  # windows that fit
        if x.is_cuda or high + wide * high // height <= _BANDED_LIMIT:
            channels_last = x.permute(0, 2, 3, 1)  # rows of (W, C): both products read memory in order
            means = exact_matmul(_banded(high, rows, x), channels_last.flatten(2))
            means = exact_matmul(_banded(wide, columns, x), means.view(len(x), high, width, -1))
            means = means.permute(0, 3, 1, 2)
        else:
            means = _window_means(_window_means(x, -2, rows), -1, columns)
        return _enlarge_by_edges(means, height, width)

    def _fast(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        steps = [
            min(limit, next(r for r in (5, 4, 3, 2, 1) if size % r == 0))
            for size, limit in zip((height, width), self.max_reduction, strict=True)
        ]
        grid = x[..., :: steps[0], :: steps[1]]
        rows = min(grid.shape[-2] - 1, self.kernel_size[0] // steps[0])
        columns = min(grid.shape[-1] - 1, self.kernel_size[1] // steps[1])
        if min(rows, columns) < 1:
            raise ShapeError(
                f'fast_imp cannot pool {height}×{width} pixels in windows of {self.kernel_size}: they are smaller than '
                'its steps; use the exact form'
            )
        # The original's integral image has no zero border, so no window contains its first grid row and column.
        means = _window_means(_window_means(grid[..., 1:, 1:], -2, rows), -1, columns)
        means = means.repeat_interleave(steps[0], -2).repeat_interleave(steps[1], -1)
        return _enlarge_by_edges(means, height, width)

    def extra_repr(self) -> str:
        """Return the settings for ``print(net)``."""
        return f'kernel_size={self.kernel_size}' + (', fast_imp=True' if self.fast_imp else '')


def _banded(count: int, window: int, like: Tensor) -> Tensor:
    """Return a (count, count + window - 1) matrix whose row i averages the window that starts at i."""
    position = torch.arange(count + window - 1, device=like.device)
    start = position[:count, None]
    return ((position >= start) & (position < start + window)).to(like.dtype) / window


def _window_means(x: Tensor, dim: int, window: int) -> Tensor:
    """Return means over all runs of ``window`` values along ``dim``, from cumulative sums."""
    count = x.shape[dim] - window + 1
    sums = x.cumsum(dim)
    ends = sums.narrow(dim, window - 1, count)
    starts = F.pad(sums, (1, 0) if dim == -1 else (0, 0, 1, 0)).narrow(dim, 0, count)
    return (ends - starts) / window


def _windows_of_any_size(x: Tensor, dim: int, window: int) -> Tensor:
    """Return window means with repeated edge values, in a form that can be exported for any size."""
    size = x.shape[dim]
    fitting = smaller(size, window)
    start = torch.arange(size, device=x.device) - (fitting - 1) // 2
    start = torch.minimum(start.clamp(min=0), torch.full_like(start, size - fitting))
    exact = x.double()  # cumulative sums over an image are inaccurate in float32
    sums = exact.cumsum(dim)
    total = sums.index_select(dim, start + fitting - 1) - sums.index_select(dim, start)
    return ((total + exact.index_select(dim, start)) / fitting).to(x.dtype)


def _enlarge_by_edges(x: Tensor, height: int, width: int) -> Tensor:
    """Repeat the edge values up to ``height`` × ``width``; an odd pixel is added below and to the right."""
    rows, columns = height - x.shape[-2], width - x.shape[-1]
    edges = (columns // 2, (columns + 1) // 2, rows // 2, (rows + 1) // 2)
    if not torch.compiler.is_compiling():
        return F.pad(x, edges, mode='replicate')
    for dim, before, after in ((-1, *edges[:2]), (-2, *edges[2:])):  # Inductor has no gradient of replicated edges
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, x.shape[dim] - 1, 1)
        x = torch.cat([first.repeat_interleave(before, dim), x, last.repeat_interleave(after, dim)], dim)
    return x
