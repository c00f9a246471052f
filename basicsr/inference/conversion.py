"""Convert images (numpy, PIL, tensors) to plain arrays, and restored arrays back to the original type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from basicsr.images.arrays import Array
from basicsr.images.pixels import pil_of, planes_of_pil
from basicsr.images.transparency import fill_invisible, keep_invisible
from basicsr.utils.errors import ShapeError

Back = Callable[[Sequence[Array]], Any]

_SLACK = 0.01  # how far float images may exceed [0, 1], for example after resizing


def arrays_of(image: Any) -> tuple[list[Array], Back]:
    """Return the images in ``image`` as arrays, and a function that converts restored arrays back.

    Args:
        image: numpy (H, W), (H, W, 1), (H, W, 3) or with alpha (H, W, 4): RGB, uint8 in 0..255, uint16 in 0..65535 or
            float in [0, 1]; a PIL image; or a tensor (C, H, W) or (B, C, H, W) with C = 1, 3 or 4, uint8 or float in
            [0, 1]. Alpha is kept, and so are the colours of invisible pixels; in the returned arrays these have the
            colours of the nearest visible pixels.

    Returns:
        (H, W, C) arrays, C = 1 or 3, uint8, uint16 or float32; and a function that takes as many arrays of the same
        shapes and dtypes and returns the type, shape, dtype and device of ``image``.

    Raises:
        ShapeError: a different type, shape, dtype or range of values.
    """
    if isinstance(image, Image.Image):
        return _of_pil(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    if isinstance(image, np.ndarray):
        return _of_numpy(image)
    raise ShapeError(f'image: expected a numpy array, a PIL image or a tensor, not a {type(image).__name__}')


def _of_numpy(image: Array) -> tuple[list[Array], Back]:
    planes = image[..., None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or 0 in planes.shape:
        raise ShapeError(f'image: expected (H, W) or (H, W, C) with C = 1, 3 or 4 (RGBA), got {image.shape}')
    floats = np.issubdtype(planes.dtype, np.floating)
    if planes.dtype not in (np.uint8, np.uint16) and not floats:
        raise ShapeError(f'image: expected uint8, uint16 or float in [0, 1], got {image.dtype}')
    colour, alpha = (planes[..., :3], planes[..., 3:]) if planes.shape[2] == 4 else (planes, None)
    if floats:
        _check_range(float(colour.min()), float(colour.max()))

    def back(restored: Sequence[Array]) -> Array:
        result = keep_invisible(restored[0].astype(image.dtype), colour, alpha)
        return (result if alpha is None else np.concatenate([result, alpha], 2)).reshape(image.shape)

    return [np.ascontiguousarray(fill_invisible(colour.astype(np.float32) if floats else colour, alpha))], back


def _of_tensor(image: Tensor) -> tuple[list[Array], Back]:
    batch = image.detach()[None] if image.dim() == 3 else image.detach()
    if batch.dim() != 4 or batch.shape[1] not in (1, 3, 4) or 0 in batch.shape[1:]:
        raise ShapeError(f'image: expected (C, H, W) or (B, C, H, W) with C = 1, 3 or 4, got {tuple(image.shape)}')
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ShapeError(f'image: expected uint8 or float in [0, 1], got {image.dtype}')
    batch = batch.float() if image.dtype == torch.bfloat16 else batch  # numpy has no bfloat16
    items = [_of_numpy(item.permute(1, 2, 0).cpu().numpy()) for item in batch]

    def back(restored: Sequence[Array]) -> Tensor:
        planes = [torch.from_numpy(undo([array])) for array, (_, undo) in zip(restored, items, strict=True)]
        done = torch.stack(planes).permute(0, 3, 1, 2) if planes else batch
        return done.to(image.device, image.dtype).reshape(image.shape)

    return [array for arrays, _ in items for array in arrays], back


def _of_pil(image: Image.Image) -> tuple[list[Array], Back]:
    planes = planes_of_pil(image)

    def back(restored: Sequence[Array]) -> Image.Image:
        result = pil_of(keep_invisible(restored[0], planes.colour, planes.alpha), planes.alpha)
        result.info = {key: value for key, value in image.info.items() if key != 'transparency'}
        return result

    return [fill_invisible(planes.colour, planes.alpha)], back


def _check_range(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ShapeError('image: some values are not finite')
    if low < -_SLACK or high > 1 + _SLACK:
        advice = 'divide it by 255' if 2 < high <= 255 and low >= 0 else 'rescale it'
        raise ShapeError(f'image: expected float values in [0, 1], got [{low:g}, {high:g}]; {advice}')
