"""The loss of an estimated blur kernel, which is known only up to a shift."""

from __future__ import annotations

import torch
from torch import nn

from basicsr.losses.base import comparable
from basicsr.utils.errors import ShapeError
from basicsr.utils.registry import LOSS_REGISTRY
from basicsr.utils.signature import NotNegative


@LOSS_REGISTRY.register()
class KernelLoss(nn.Module):
    """One minus the largest normalised cross-correlation of two kernels over small shifts; ours.

    A blurred image does not tell where its sharp image was: kernel and image may be shifted against each other. For the
    best shift, the loss is half the squared distance of the kernels, each scaled to norm 1. Over all shifts, it is one
    minus the kernel similarity of Hu and Yang ("Good Regions to Deblur", ECCV 2012).

    Args:
        loss_weight: weight of the loss.
        max_shift: largest shift in pixels along rows and columns that costs nothing. Targets are centred, so a small
            one keeps the estimates near the middle, where other code expects them.
    """

    def __init__(self, loss_weight: float = 1.0, max_shift: NotNegative = 4) -> None:
        super().__init__()
        self.loss_weight, self.max_shift = loss_weight, max_shift

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        Args:
            pred: kernels (B, h, w), not negative; computed in fp32 at least.
            target: of the same shape, not all 0.

        Returns:
            a scalar, 0 to 1 for weight 1; 1 for an estimate of zeros.

        Raises:
            ShapeError: the shapes differ, or are not (B, h, w).
        """
        pred, target = comparable(pred, target)
        if pred.ndim != 3:
            raise ShapeError(f'KernelLoss needs kernels (B, h, w), got {tuple(pred.shape)}')
        most, (height, width) = self.max_shift, pred.shape[-2:]
        shape = height + most, width + most  # circular shifts up to max_shift do not wrap around
        spectra = torch.fft.rfft2(pred, s=shape) * torch.fft.rfft2(target, s=shape).conj()
        products = torch.fft.irfft2(spectra, s=shape).roll((most, most), (-2, -1))
        best: torch.Tensor = products[..., : 2 * most + 1, : 2 * most + 1].flatten(1).amax(1)
        norms = pred.flatten(1).norm(dim=1) * target.flatten(1).norm(dim=1)
        loss: torch.Tensor = (1 - best / norms.clamp_min(1e-12)).mean()
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        """Return the constructor arguments for ``print(loss)``."""
        return f'loss_weight={self.loss_weight}, max_shift={self.max_shift}'
