"""Targets for networks with outputs at several scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate

from basicsr.utils.errors import ShapeError


def targets_of(outputs: Sequence[Tensor], gt: Tensor) -> list[Tensor]:
    """Return the target of each output of a network.

    For smaller outputs, the ground truth is resized from full size by bilinear interpolation without antialiasing: at
    1/8, the mean of the 2 x 2 pixels in the middle of 8 x 8 (MIMO-UNet, RSS-T).

    Args:
        outputs: (B, C, H_k, W_k); the last one is the result.
        gt: (B, C, H, W).

    Raises:
        ShapeError: the size of the ground truth is not an integer multiple of an output, e.g. after padding.
    """
    return [_scaled(gt, output) for output in outputs[:-1]] + [gt]


def _scaled(gt: Tensor, output: Tensor) -> Tensor:
    (height, width), (rows, columns) = gt.shape[-2:], output.shape[-2:]
    if height % rows or width % columns or height // rows != width // columns:
        raise ShapeError(
            f'an output of {rows}×{columns} pixels does not divide the ground truth of {height}×{width}; use '
            'training crops without padding (multiples of input_rule.multiple)'
        )
    return gt if rows == height else interpolate(gt, (rows, columns), mode='bilinear', align_corners=False)
