"""The number of every row as input channel, for cameras that expose lower rows longer (RSS-T, ICCV 2023)."""

from __future__ import annotations

import torch
from torch import Tensor


def row_numbers(padded: Tensor, first_row: Tensor | None = None, unit: float = 1.0) -> Tensor:
    """Return the number of each row of a padded image.

    Args:
        padded: (B, C, H, W).
        first_row: number of its first row, padding included, (B, 1, 1, 1), for parts of an image; None is 0.
        unit: rows per unit; 1 in published networks, which do not divide by the height.

    Returns:
        (B, 1, H, W) in the dtype of the image.
    """
    rows = torch.arange(padded.shape[-2], device=padded.device, dtype=padded.dtype).view(1, 1, -1, 1)
    if first_row is not None:
        rows = rows + first_row
    if unit != 1:
        rows = rows / unit
    return rows.expand(len(padded), 1, -1, padded.shape[-1])
