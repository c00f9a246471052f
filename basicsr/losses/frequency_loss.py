"""Losses on spatial frequencies."""

from __future__ import annotations

import torch

from basicsr.losses.base import ReducedLoss
from basicsr.utils.errors import ShapeError
from basicsr.utils.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class FFTLoss(ReducedLoss):
    """L1 distance of the real and imaginary parts of the two-dimensional Fourier transform (rfft2, not normalised).

    Args:
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none' over all real and imaginary parts.
    """

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Absolute differences, (..., H, W // 2 + 1, 2).

        Args:
            pred: prediction (..., H, W).
            target: ground truth of the same shape.

        Raises:
            ShapeError: fewer than two dimensions.
        """
        if pred.ndim < 2:
            raise ShapeError(f'FFTLoss needs (..., H, W), got {tuple(pred.shape)}')
        # the transform is linear, so one of the difference serves both images
        return torch.view_as_real(torch.fft.rfft2(pred - target)).abs()
