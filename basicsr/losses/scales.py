"""Ground truths for networks that return the image at several sizes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

from basicsr.utils.errors import ShapeError


def targets_of(outputs: Sequence[Tensor], gt: Tensor) -> list[Tensor]:
    """What each output of a network is compared with.

    Smaller outputs have the ground truth scaled down directly from full size, by bilinear interpolation without
    antialiasing: at 1/8 the mean of two by two pixels in the middle of eight by eight (MIMO-UNet, RSS-T).

    Args:
        outputs: (B, C, H_k, W_k); the last is the result.
        gt: (B, C, H, W).

    Raises:
        ShapeError: the ground truth is no whole multiple of an output, as where the network has padded its input.
    """
    return [_scaled(gt, output) for output in outputs[:-1]] + [gt]


def _scaled(gt: Tensor, output: Tensor) -> Tensor:
    (height, width), (rows, columns) = gt.shape[-2:], output.shape[-2:]
    if height % rows or width % columns or height // rows != width // columns:
        raise ShapeError(
            f'the network returned {rows}×{columns} pixels for a ground truth of {height}×{width}, which is no '
            'multiple of it; train on crops of a size that needs no padding (a multiple of input_rule.multiple)'
        )
    return gt if rows == height else interpolate(gt, (rows, columns), mode='bilinear', align_corners=False)
