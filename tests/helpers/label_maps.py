"""Label maps and boolean masks of ellipses."""

from __future__ import annotations

import numpy as np
import torch

from basicsr.masks import label_map_from_masks


def ellipses(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Overlapping boolean masks (count, height, width) that leave some pixels free."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    centre, radius = rng.random((count, 2)), 0.1 + 0.2 * rng.random((count, 2))
    return np.stack(
        [
            ((rows / height - y) / a) ** 2 + ((columns / width - x) / b) ** 2 < 1
            for (y, x), (a, b) in zip(centre, radius, strict=True)
        ]
    )


def batch_of_label_maps(masks: list[np.ndarray]) -> torch.Tensor:
    maps = [label_map_from_masks(one) for one in masks]
    layers = max(len(one) for one in maps)
    padded = [np.pad(one, ((0, layers - len(one)), (0, 0), (0, 0))) for one in maps]
    return torch.from_numpy(np.stack(padded))
