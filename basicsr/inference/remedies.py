"""What is done about a collapse: other ways through the network, and at last the input."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
Run = Callable[[Tensor, 'Array | None', Tile], Restored]
"""Image, label map and tile to an output."""

SECOND_TILE = 512
"""Side of the tiles that are tried after a collapse."""


@dataclass(frozen=True)
class Outcome:
    """An output that may be shown.

    Args:
        restored: the output; with any guard, without values that are no numbers.
        finding: the collapse of the first attempt; None if there was none, or nobody looked.
        remedy: what became of it, in words.
        repaired: share of the picture that shows the input.
    """

    restored: Restored
    finding: Finding | None = None
    remedy: str = ''
    repaired: float = 0.0


def restore_guarded(run: Run, lq: Tensor, labels: Array | None, tile: Tile, mode: GuardMode, name: str) -> Outcome:
    """Restore a picture; on a collapse try other tiles, then no masks, and show the input where all attempts collapse.

    Args:
        run: one way through the network.
        lq: (1, 3, H, W) float in [0, 1].
        labels: label map (L, H, W) for networks that take masks.
        tile: of the first attempt.
        mode: ``repair`` does all this, ``refuse`` raises, ``warn`` only says so, ``off`` does not look.
        name: of the network, for messages.

    Raises:
        WeightsError: a collapse, in the mode ``refuse``.
        ArgumentError: the tiles are too small for the network.
        RuntimeError: not even the smallest tiles fit into the memory.
    """
    first = run(lq, labels, tile)
    finding = None if mode == 'off' else find_collapse(lq, first.image)
    if finding is None:
        return Outcome(first)
    if mode == 'refuse':
        raise WeightsError(f'{name} collapsed: {finding.text()}; guard: repair mends such pictures')
    if mode == 'warn':
        finite = torch.where(first.image.isfinite(), first.image, lq)
        return Outcome(replace(first, image=finite), finding, 'left as it is')
    best, least = first, finding
    for other_tile, other_labels, way in _other_ways(first, lq, labels, tile):
        try:
            restored = run(lq, other_labels, other_tile)
            again = find_collapse(lq, restored.image)
        except (ArgumentError, RuntimeError, MemoryError) as error:
            if not (isinstance(error, ArgumentError) or is_out_of_memory(error)):
                raise
            logger.info('%s does not work here: %s', way, error)  # tiles too small for the network, or no memory left
            continue
        if again is None:
            return Outcome(restored, finding, f'mended by {way}')
        if again.share < least.share:
            best, least = restored, again
    mended, share = with_input_there(lq, best.image, least)
    return Outcome(replace(best, image=mended), finding, f'{share:.0%} of the picture is left as it was', share)


def _other_ways(
    first: Restored, lq: Tensor, labels: Array | None, tile: Tile
) -> Iterator[tuple[Tile, Array | None, str]]:
    """Tile, label map and name of the ways that are tried one after the other."""
    height, width = lq.shape[-2:]
    if first.tile is not None and height * width <= WHOLE_ON_CPU:
        yield None, labels, 'restoring it whole'
    elif max(height, width) > SECOND_TILE and (first.tile is None or first.tile > SECOND_TILE):
        yield SECOND_TILE, labels, f'tiles of {SECOND_TILE} pixels'
    if labels is not None and labels.any():
        yield tile, np.zeros_like(labels[:1]), 'leaving the masks out'
