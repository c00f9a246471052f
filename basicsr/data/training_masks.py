"""Label maps for training: checked, with mask dropout, and as small as possible, before they reach a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.archs.mask_dropout import drop_masks
from basicsr.masks.label_map import compact
from basicsr.utils.device import signed
from basicsr.utils.errors import MaskError

_LAYERS = (1, 4, 8)  # a batch has one of these numbers of layers, or a multiple of the last


def drop_in_data(labels: Tensor, seeds: Tensor, share: float, names: Sequence[str]) -> Tensor:
    """Apply mask dropout to the label maps of a batch, so that a network need not read them.

    The draws are those of the network: int(share · M) of the M ids that occur in a sample, seeded by its mask seed.

    Args:
        labels: (B, L, H, W) integers.
        seeds: B integers.
        share: fraction of the masks to drop.
        names: of the images, for error messages.

    Returns:
        (B, L', H, W), uint8 if the ids of each sample fit after renumbering, else int16 or int32. L' is 1, 4, 8 or a
        multiple of 8, so that compiled networks see few shapes.

    Raises:
        MaskError: an id is negative, or occurs in two layers.
    """
    labels = signed(labels)
    if labels.dtype != torch.uint8:
        labels = _stacked([compact(one) for one in labels.numpy()])
    for index in range(len(labels) if labels.shape[1] > 1 else 0):
        layers = [np.unique(layer) for layer in labels[index].numpy()]
        found = np.concatenate([ids[ids > 0] for ids in layers])
        if len(np.unique(found)) < len(found):
            raise MaskError(f'{names[index]}: an id occurs in two layers of its label map; ids must be unique')
    dropped: Any = drop_masks(labels, share, seeds)
    count = dropped.shape[1]
    fixed = next((one for one in _LAYERS if one >= count), -(-count // 8) * 8)
    padded: Tensor = torch.nn.functional.pad(dropped, (0, 0, 0, 0, 0, fixed - count))
    return padded


def _stacked(maps: Sequence[np.ndarray]) -> Tensor:
    """Stack label maps in the smallest common type."""
    largest = max(int(one.max(initial=0)) for one in maps)
    dtype = next(kind for kind in (np.uint8, np.int16, np.int32) if largest <= np.iinfo(kind).max)
    return torch.from_numpy(np.stack(maps).astype(dtype))
