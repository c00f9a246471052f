"""Handle a collapse: try other tiles, then no masks, then show the input in the affected areas."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from basicsr.images.arrays import Array
from basicsr.inference.collapse_guard import Finding, find_collapse, with_input_there
from basicsr.inference.restoring import WHOLE_ON_CPU, Restored, Tile
from basicsr.utils.device import is_out_of_memory
from basicsr.utils.errors import ArgumentError, WeightsError

logger = logging.getLogger(__name__)

GuardMode = Literal['repair', 'refuse', 'warn', 'off']
Restore = Callable[[Tensor, 'Array | None', Tile], Restored]
"""Function from image, label map and tile to an output."""

SECOND_TILE = 512
"""Side of the tiles that are tried after a collapse, in pixels."""


def restore_guarded(run: Restore, lq: Tensor, labels: Array | None, tile: Tile, mode: GuardMode, name: str) -> Restored:
    """Restore an image; on a collapse, try other tiles, then no masks, then show the input in the affected areas.

    Args:
        run: restores the image once.
        lq: (1, 3, H, W) float in [0, 1].
        labels: label map (L, H, W), for networks that take masks.
        tile: of the first attempt.
        mode: ``repair`` does all this, ``refuse`` raises, ``warn`` only reports, ``off`` does not check.
        name: of the network, for messages.

    Returns:
        the output, finite unless ``mode`` is ``off``.

    Raises:
        WeightsError: the output collapsed and ``mode`` is ``refuse``.
        ArgumentError: the tiles are too small for the network.
        RuntimeError: even the smallest tiles do not fit into memory.
    """
    first = run(lq, labels, tile)
    finding = None if mode == 'off' else find_collapse(lq, first.image)
    if finding is None:
        return first
    if mode != 'repair':
        return _kept(first, lq, finding, mode, name)
    best, least = first, finding
    for other_tile, other_labels, way in _other_ways(first, lq, labels, tile):
        try:
            restored = run(lq, other_labels, other_tile)
            again = find_collapse(lq, restored.image)
        except (ArgumentError, RuntimeError, MemoryError) as error:
            if not (isinstance(error, ArgumentError) or is_out_of_memory(error)):
                raise
            logger.info('Cannot restore %s: %s', way, error)  # tiles too small for the network, or out of memory
            continue
        if again is None:
            return replace(restored, finding=finding, remedy=f'repaired {way}')
        if again.share < least.share:
            best, least = restored, again
    return _with_input(best, lq, least, finding)


def guard_result(restored: Restored, lq: Tensor, mode: GuardMode, name: str) -> Restored:
    """Check a result that cannot be made in another way; on a collapse, show the input in the affected areas.

    Args:
        restored: of the same shape as ``lq``.
        lq: (1, 3, H, W) float in [0, 1].
        mode: see :func:`restore_guarded`.
        name: what made the result, for messages.

    Raises:
        WeightsError: the output collapsed and ``mode`` is ``refuse``.
    """
    finding = None if mode == 'off' else find_collapse(lq, restored.image)
    if finding is None:
        return restored
    if mode != 'repair':
        return _kept(restored, lq, finding, mode, name)
    return _with_input(restored, lq, finding, finding)


def _kept(restored: Restored, lq: Tensor, finding: Finding, mode: GuardMode, name: str) -> Restored:
    """Raise, or return the collapsed output with finite values."""
    if mode == 'refuse':
        raise WeightsError(f'{name} {finding.text()}; use guard: repair to repair such images')
    finite = torch.where(restored.image.isfinite(), restored.image, lq)
    return replace(restored, image=finite, finding=finding, remedy='left as it is')


def _with_input(restored: Restored, lq: Tensor, finding: Finding, first: Finding) -> Restored:
    """Show the input where an output collapsed; ``first`` is the finding to report."""
    image, share = with_input_there(lq, restored.image, finding)
    remedy = f'{share:.0%} of the image shows the input'
    return replace(restored, image=image, finding=first, remedy=remedy, repaired=share)


def _other_ways(
    first: Restored, lq: Tensor, labels: Array | None, tile: Tile
) -> Iterator[tuple[Tile, Array | None, str]]:
    """Yield tile, label map and description of further attempts."""
    height, width = lq.shape[-2:]
    if first.tile is not None and height * width <= WHOLE_ON_CPU:
        yield None, labels, 'without tiles'
    elif max(height, width) > SECOND_TILE and (first.tile is None or first.tile > SECOND_TILE):
        yield SECOND_TILE, labels, f'with tiles of {SECOND_TILE} pixels'
    if labels is not None and labels.any():
        yield tile, np.zeros_like(labels[:1]), 'without masks'
