"""Pictures as people hold them (numpy, PIL, tensors), turned into plain arrays and back."""

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

_SLACK = 0.01  # how far float pictures may leave [0, 1], after resizing them for instance


def arrays_of(image: Any) -> tuple[list[Array], Back]:
    """The pictures in ``image``, and what turns restored ones into the kind that came in.

    Args:
        image: numpy (H, W), (H, W, 1), (H, W, 3) or with alpha (H, W, 4): RGB, uint8 in 0..255, uint16 in 0..65535 or
            float in [0, 1]; a PIL picture; or a tensor (C, H, W) or (B, C, H, W) with C = 1, 3 or 4, uint8 or float in
            [0, 1]. Alpha is kept as it is, and so are the colours of invisible pixels, which become those of the
            nearest visible ones in between.

    Returns:
        (H, W, C) arrays, C = 1 or 3, uint8, uint16 or float32; and a function from as many arrays of the same shapes
        and dtypes to numpy, PIL or a tensor as it came in: shape, dtype and device.

    Raises:
        ShapeError: another kind, shape, dtype or range of values.
    """
    if isinstance(image, Image.Image):
        return _of_pil(image)
    if isinstance(image, Tensor):
        return _of_tensor(image)
    if isinstance(image, np.ndarray):
        return _of_numpy(image)
    raise ShapeError(f'a picture is a numpy array, a PIL picture or a tensor, not a {type(image).__name__}')


def _of_numpy(image: Array) -> tuple[list[Array], Back]:
    planes = image[..., None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4) or 0 in planes.shape:
        raise ShapeError(f'a numpy picture is (H, W) or (H, W, C) with C = 1, 3 or 4 (RGBA), got {image.shape}')
    if planes.dtype not in (np.uint8, np.uint16) and not np.issubdtype(planes.dtype, np.floating):
        raise ShapeError(f'a numpy picture is uint8, uint16 or float in [0, 1], got {image.dtype}')
    colour, alpha = (planes[..., :3], planes[..., 3:]) if planes.shape[2] == 4 else (planes, planes[..., :0])
    if np.issubdtype(planes.dtype, np.floating):
        _check_range(float(colour.min()), float(colour.max()))
        colour = colour.astype(np.float32)

    seen = alpha if alpha.size else None

    def back(restored: Sequence[Array]) -> Array:
        result = keep_invisible(restored[0].astype(image.dtype), planes[..., : colour.shape[2]], seen)
        return np.concatenate([result, alpha], 2).reshape(image.shape)

    return [np.ascontiguousarray(fill_invisible(colour, seen))], back


def _of_tensor(image: Tensor) -> tuple[list[Array], Back]:
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or batch.shape[1] not in (1, 3, 4) or 0 in batch.shape[1:]:
        raise ShapeError(f'a tensor picture is (C, H, W) or (B, C, H, W) with C = 1, 3 or 4, got {tuple(image.shape)}')
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ShapeError(f'a tensor picture is uint8 or float in [0, 1], got {image.dtype}')
    colour, alpha = (batch[:, :3], batch[:, 3:]) if batch.shape[1] == 4 else (batch, batch[:, :0])
    if image.is_floating_point() and len(batch):
        _check_range(float(colour.min()), float(colour.max()))
        colour = colour.float()
    arrays = [item.permute(1, 2, 0).contiguous().cpu().numpy() for item in colour.detach()]
    if alpha.shape[1]:
        masks = [item.permute(1, 2, 0).float().cpu().numpy() for item in alpha.detach()]
        arrays = [fill_invisible(array, mask) for array, mask in zip(arrays, masks, strict=True)]

    def back(restored: Sequence[Array]) -> Tensor:
        if not restored:
            return image.clone()
        planes = torch.stack([torch.from_numpy(item).permute(2, 0, 1) for item in restored]).to(
            image.device, image.dtype
        )
        if alpha.shape[1]:
            planes = torch.where(alpha > 0, planes, batch[:, :3])
        return torch.cat([planes, alpha], 1).reshape(image.shape)

    return arrays, back


def _of_pil(image: Image.Image) -> tuple[list[Array], Back]:
    planes = planes_of_pil(image)

    def back(restored: Sequence[Array]) -> Image.Image:
        result = pil_of(keep_invisible(restored[0], planes.colour, planes.alpha), planes.alpha)
        result.info = {key: value for key, value in image.info.items() if key != 'transparency'}
        return result

    return [fill_invisible(planes.colour, planes.alpha)], back


def _check_range(low: float, high: float) -> None:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ShapeError('the picture holds values that are not finite')
    if low < -_SLACK or high > 1 + _SLACK:
        advice = 'divide it by 255' if 2 < high <= 255 and low >= 0 else 'bring it there'
        raise ShapeError(f'a float picture lies in [0, 1], this one in [{low:g}, {high:g}]; {advice}')
