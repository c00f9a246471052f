"""Losses on spatial frequencies."""

from __future__ import annotations

from typing import Literal

import torch

from basicsr.losses.base import ReducedLoss, Reduction
from basicsr.utils.errors import ShapeError
from basicsr.utils.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class FFTLoss(ReducedLoss):
    """L1 distance of the real and imaginary parts of the two-dimensional Fourier transform, not normalized.

    Args:
        loss_weight: factor of the result.
        reduction: 'mean', 'sum' or 'none' over all real and imaginary parts.
        spectrum: 'half' counts every conjugate pair once (rfft2), 'full' every frequency (fft2; MIMO-UNet, RSS-T).
    """

    def __init__(
        self, loss_weight: float = 1.0, reduction: Reduction = 'mean', spectrum: Literal['half', 'full'] = 'half'
    ) -> None:
        super().__init__(loss_weight, reduction)
        self.spectrum = spectrum

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return absolute differences, (..., H, W // 2 + 1, 2), or (..., H, W, 2) for the full spectrum.

        Args:
            pred: prediction (..., H, W).
            target: ground truth, same shape.

        Raises:
            ShapeError: fewer than two dimensions.
        """
        if pred.ndim < 2:
            raise ShapeError(f'FFTLoss needs (..., H, W), got {tuple(pred.shape)}')
        # the transform is linear, so transforming the difference is enough
        transform = torch.fft.fft2 if self.spectrum == 'full' else torch.fft.rfft2
        return torch.view_as_real(transform(pred - target)).abs()

    def extra_repr(self) -> str:
        """Return the constructor arguments for ``print(loss)``."""
        return f'{super().extra_repr()}, spectrum={self.spectrum!r}'
