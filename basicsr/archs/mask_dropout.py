"""Mask dropout: random masks of a training sample are treated as empty (section 2.3 of arXiv 2309.02270)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basicsr.utils.device import signed
from basicsr.utils.errors import MaskError

Masks = Tensor | Sequence[Tensor]
Dropped = Literal['dropped']
DROPPED: Dropped = 'dropped'
"""In place of mask seeds: the label map is checked, and its masks are dropped already. Nothing is read from it."""
MaskSeeds = Tensor | Sequence[int] | Dropped


def are_dropped(seeds: MaskSeeds | None) -> bool:
    """Return whether the masks are checked and dropped already."""
    return isinstance(seeds, str) and seeds == DROPPED


def drop_masks(masks: Masks, share: float, seeds: MaskSeeds | None = None) -> Masks:
    """Drop int(share · M) masks of each sample, where M is its number of ids or planes.

    Args:
        masks: label map (B, L, H, W) or B stacks (M_b, 1, H, W); not modified.
        share: 0 to 1; the product is rounded down, so 0.5 of one mask drops none.
        seeds: B integers, or None for torch's default CPU generator. ``randperm(M)`` is drawn even if no mask is
            dropped, as in the original, and indexes the ids in ascending order.

    Returns:
        label maps with dropped ids set to 0, stacks without the dropped planes.
    """
    generators = _generators(seeds, len(masks))
    if not isinstance(masks, Tensor):
        return [m[_kept(len(m), share, g).to(m.device)] for m, g in zip(masks, generators, strict=True)]
    if masks.dtype == torch.uint8 and masks.device.type == 'cpu':
        arrays = zip(masks.numpy(), generators, strict=True)
        return torch.stack([torch.from_numpy(_drop_small(one, share, generator)) for one, generator in arrays])
    labels = signed(masks)
    index, count = ids_as_indices(labels)
    table = torch.zeros(len(masks), count, dtype=torch.bool, device=masks.device)
    present = table.scatter_(1, index.flatten(1), True).cpu()
    keep = torch.ones_like(present)
    for row, ids, generator in zip(keep, present, generators, strict=True):
        ids = ids.nonzero().flatten()
        ids = ids[ids > 0]
        dropped = torch.ones(len(ids), dtype=torch.bool)
        dropped[_kept(len(ids), share, generator)] = False
        row[ids[dropped]] = False
    kept = keep.to(masks.device).gather(1, index.flatten(1)).view_as(masks)
    return (labels * kept.to(labels.dtype)).to(masks.dtype)


def _drop_small(labels: NDArray[np.uint8], share: float, generator: torch.Generator | None) -> NDArray[np.uint8]:
    """Drop masks of one sample by a table of the 256 ids, as loaders do for every sample."""
    ids = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    ids = ids[ids > 0]
    kept = ids[_kept(len(ids), share, generator).numpy()]
    table = np.zeros(256, np.uint8)
    table[kept] = kept
    dropped: NDArray[np.uint8] = table[labels]
    return dropped


def ids_as_indices(labels: Tensor, checked: bool = False) -> tuple[Tensor, int]:
    """Return the ids of a label map as int64 indices, and an upper bound. Very large ids are renumbered in order.

    Args:
        labels: (B, L, H, W), of a signed type or uint8.
        checked: no id is negative. Then the type of int16 is the bound, too, and a GPU need not be read.
    """
    index = labels.long()
    if labels.device.type == 'cpu' and not torch.compiler.is_compiling():
        largest = int(labels.numpy().max(initial=0))
    elif labels.dtype == torch.uint8:
        return index, 2**8
    elif labels.dtype == torch.int16 and checked:
        return index, 2**15
    else:
        largest = int(index.max()) if index.numel() else 0
    if largest < max(256, min(65536, labels[0].numel())):
        return index, largest + 1
    with_zero = torch.cat([index.new_zeros(1), index.flatten()])  # so that 0 stays 0
    ids, inverse = with_zero.unique(return_inverse=True)
    return inverse[1:].view_as(index), len(ids)


def _generators(seeds: MaskSeeds | None, batch: int) -> list[torch.Generator | None]:
    if seeds is None:
        return [None] * batch
    try:
        numbers = [operator.index(seed) for seed in seeds]  # type: ignore[arg-type]
        generators: list[torch.Generator | None] = [torch.Generator().manual_seed(number) for number in numbers]
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise MaskError(f'mask_seeds must be one integer below 2^63 per image, got {seeds!r}') from error
    if len(numbers) != batch:
        raise MaskError(f'{len(numbers)} mask seeds for a batch of {batch} images')
    return generators


def _kept(count: int, share: float, generator: torch.Generator | None) -> Tensor:
    """Return the ascending indices of the kept masks."""
    order = torch.randperm(count, generator=generator)
    return order[int(share * count) :].sort().values
