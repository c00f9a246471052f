"""Restore one image of any size: whole if it fits into memory, otherwise in tiles."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of, restore
from basicsr.archs.map_unit import Masks
from basicsr.deconvolution.photos import Progress
from basicsr.inference.collapse_guard import Finding
from basicsr.inference.tiling import Grid, least_tile, local_form, restore_grid, restore_tiled
from basicsr.inference.widest import countable, elements_a_pixel
from basicsr.utils.device import free_memory, is_out_of_memory, without_tuning

logger = logging.getLogger(__name__)

Tile = int | Literal['auto'] | None

WHOLE_ON_CPU = 4_000_000
"""Largest image, in pixels, that 'auto' restores whole on a CPU, where running out of memory raises no error."""
FIRST_TILE, SMALLEST_TILE = 1024, 256
LARGEST_TILE = 1984
"""Side of tiles for networks that need little memory; fewer pixels than WHOLE_ON_CPU. Larger tiles repeat less."""
TILE_MEMORY = 2**31
"""Bytes that a tile larger than FIRST_TILE may need."""
_BYTES_PER_ELEMENT = 32
"""Memory of a forward pass per element of its largest tensor; 21 to 29 measured for the networks of this project."""


@dataclass(frozen=True)
class Restored:
    """A restored image and how it was restored.

    Args:
        image: (1, C, H, W) float, not clamped.
        tile: side of the tiles in pixels; None for the whole image, 0 for the original's grid.
        kernel: (1, h, w) blur kernel of the whole image; None if the network estimates none.
        finding: collapse of the first attempt; None if there was none or the guard is off.
        remedy: how the collapse was handled; empty without a collapse.
        repaired: share of the image that was replaced by the input, 0 to 1.
    """

    image: Tensor
    tile: int | None = None
    kernel: Tensor | None = None
    finding: Finding | None = None
    remedy: str = ''
    repaired: float = 0.0


def restore_image(
    net: nn.Module,
    lq: Tensor,
    masks: Masks | None = None,
    tile: Tile = 'auto',
    grid: Grid | None = None,
    progress: Progress = lambda done, total: None,
) -> Restored:
    """Restore one image.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W) float; for CAT networks with the gray mask as last channel.
        masks: of the image, for networks with a prior.
        tile: side of the tiles in pixels; None restores the image whole; 'auto' uses tiles if it does not fit into
            memory. Tiles are halved until they fit.
        grid: tiles as in the original; takes precedence over ``tile``.
        progress: called after each tile with the finished and the total number; may raise to stop.

    Raises:
        torch.OutOfMemoryError: (RuntimeError on a CPU) even the smallest tiles do not fit.
    """
    if contract_of(net).kernel_role == 'finds':  # one kernel for the whole image
        finder: Any = net
        with torch.inference_mode():
            known = finder.fixed_for(lq)
        return replace(restore_image(known, lq, masks, tile, grid, progress), kernel=known.kernel)
    with torch.inference_mode(), without_tuning():
        if grid is not None:
            return Restored(restore_grid(net, lq, masks, grid), 0)
        if tile is None:
            return Restored(restore(net, lq, masks))
        longest, least = max(lq.shape[-2:]), least_tile(net)
        if isinstance(tile, int):
            size, least = tile, min(tile, max(least, SMALLEST_TILE))
        else:
            least = max(least, SMALLEST_TILE)
            if _may_fit(net, lq, masks):
                try:
                    return Restored(restore(net, lq, masks))
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                size = min(FIRST_TILE, longest // 2)
                free_memory(lq.device)
            else:
                size = _first_tile(net, lq, masks)
                if size >= longest:  # one tile would be the whole image
                    size = longest // 2
        size = max(size, least)
        while True:
            try:
                return _in_tiles(net, lq, masks, size, progress)
            except (RuntimeError, MemoryError) as error:
                if size <= least or not is_out_of_memory(error):
                    raise
            size = max(size // 2, least)
            logger.info('Out of memory; restoring %d x %d pixels in tiles of %d', *lq.shape[-2:], size)
            free_memory(lq.device)


def _may_fit(net: nn.Module, lq: Tensor, masks: Masks | None) -> bool:
    """Return whether to try an image whole: a GPU raises an error when its memory is full, a CPU may not."""
    if lq.device.type == 'cpu':
        return lq.shape[-2] * lq.shape[-1] <= WHOLE_ON_CPU
    return countable(net, lq, masks)


def _first_tile(net: nn.Module, lq: Tensor, masks: Masks | None) -> int:
    """Return the side of the largest tiles that need at most TILE_MEMORY, between FIRST_TILE and LARGEST_TILE."""
    pixels = TILE_MEMORY / (_BYTES_PER_ELEMENT * elements_a_pixel(net, lq, masks))
    return min(max(math.isqrt(int(pixels)), FIRST_TILE), LARGEST_TILE)


def _in_tiles(net: nn.Module, lq: Tensor, masks: Masks | None, tile: int, progress: Progress) -> Restored:
    if max(lq.shape[-2:]) <= tile:
        return Restored(restore(net, lq, masks))
    logger.debug('Restoring %d x %d pixels in tiles of %d', *lq.shape[-2:], tile)
    return Restored(restore_tiled(local_form(net), lq, masks, tile, progress), tile)
