"""Convert images to planes of floats and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from basicsr.images.arrays import Array
from basicsr.utils.errors import ShapeError

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the gray image (ITU-R BT.601)."""


def planes_of(image: Array) -> tuple[Tensor, Callable[[Tensor], Array]]:
    """Return an image as planes, and a function that converts planes back.

    Args:
        image: (H, W) or (H, W, C), C = 1 or 3 (RGB), uint8, uint16 or float in [0, 1].

    Returns:
        (C, H, W) float32 in [0, 1]; and a function from planes of this shape to the shape and dtype of the image.

    Raises:
        ShapeError: a different shape or dtype, or values that are not finite.
    """
    array = np.asarray(image)
    floats = np.issubdtype(array.dtype, np.floating)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)) or 0 in array.shape:
        raise ShapeError(f'image: expected (H, W), (H, W, 1) or (H, W, 3), got {array.shape}')
    if array.dtype not in (np.uint8, np.uint16) and not floats:
        raise ShapeError(f'image: expected uint8, uint16 or float in [0, 1], got {array.dtype}')
    white = 1.0 if floats else float(np.iinfo(array.dtype).max)
    values = array.astype(np.float32) / np.float32(white)
    if not np.isfinite(values).all():
        raise ShapeError('image: some values are not finite')
    planes = torch.from_numpy(values.reshape(*array.shape[:2], -1)).permute(2, 0, 1).contiguous()

    def back(result: Tensor) -> Array:
        scaled = result.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * white
        return np.asarray((scaled if floats else np.rint(scaled)).astype(array.dtype)).reshape(array.shape)

    return planes, back


def gray_of(planes: Tensor) -> Tensor:
    """Return the luma (H, W) of (3, H, W), or the only plane of (1, H, W)."""
    if planes.shape[0] == 1:
        return planes[0]
    return (planes * planes.new_tensor(LUMA)[:, None, None]).sum(0)
