"""Losses on pixel values."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from basicsr.losses.base import ReducedLoss, Reduction, comparable, require_reduction
from basicsr.utils.errors import ArgumentError, ShapeError
from basicsr.utils.registry import LOSS_REGISTRY

_LUMA_OF_RGB = (65.481 / 255, 128.553 / 255, 24.966 / 255)


@LOSS_REGISTRY.register()
class PSNRLoss(nn.Module):
    """Negative PSNR for data range 1, the loss of NAFNet and SAM-Deblur.

    ``loss_weight * 10 / ln 10 * mean over samples of ln(mse + eps)``, each mse over (C, H, W).

    Args:
        loss_weight: weight of the loss.
        reduction: must be 'mean'; a key of the original.
        toY: compute the loss on the luma (ITU-R BT.601) of RGB images.
        eps: added to the squared error of each sample. The default is the published value. If some training samples
            are sharp, use about 1e-3 (30 dB): otherwise, perfectly restored samples have the largest gradients.

    Raises:
        ArgumentError: a different reduction, or ``eps`` is not positive.
    """

    def __init__(
        self, loss_weight: float = 1.0, reduction: Literal['mean'] = 'mean', toY: bool = False, eps: float = 1e-8
    ) -> None:
        super().__init__()
        require_reduction('PSNRLoss', reduction, ('mean',))
        if eps <= 0:
            raise ArgumentError(f'PSNRLoss: eps must be positive, got {eps}')
        self.eps = eps
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.toY = toY

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        Args:
            pred: (B, C, H, W), RGB, nominally in [0, 1], not clamped; half precision is converted to fp32.
            target: ground truth, same shape.

        Returns:
            a scalar, in dB for weight 1; -80 for identical batches with the default ``eps``.

        Raises:
            ShapeError: the shapes differ or are not (B, C, H, W), or luma needs 3 channels.
        """
        pred, target = comparable(pred, target)
        if pred.ndim != 4:
            raise ShapeError(f'PSNRLoss needs (B, C, H, W), got {tuple(pred.shape)}')
        difference = pred - target
        if self.toY:
            if pred.shape[1] != 3:
                raise ShapeError(f'PSNRLoss with toY needs 3 channels (RGB), got {pred.shape[1]}')
            red, green, blue = difference.unbind(dim=1)
            # the offset of the luma (16) cancels
            difference = _LUMA_OF_RGB[0] * red + _LUMA_OF_RGB[1] * green + _LUMA_OF_RGB[2] * blue
        error_of_sample = difference.square().flatten(1).mean(dim=1)
        return self.loss_weight * 10 / math.log(10) * torch.log(error_of_sample + self.eps).mean()

    def extra_repr(self) -> str:
        """Return the constructor arguments for ``print(loss)``."""
        return f'loss_weight={self.loss_weight}, toY={self.toY}, eps={self.eps}'


@LOSS_REGISTRY.register()
class L1Loss(ReducedLoss):
    """Mean absolute error.

    Args:
        loss_weight: weight of the loss.
        reduction: 'mean', 'sum', or 'none' for one value per element.
    """

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the absolute difference of each element.

        Args:
            pred: prediction.
            target: ground truth, same shape.
        """
        return (pred - target).abs()


@LOSS_REGISTRY.register()
class MSELoss(ReducedLoss):
    """Mean squared error.

    Args:
        loss_weight: weight of the loss.
        reduction: 'mean', 'sum', or 'none' for one value per element.
    """

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the squared difference of each element.

        Args:
            pred: prediction.
            target: ground truth, same shape.
        """
        return (pred - target).square()


@LOSS_REGISTRY.register()
class CharbonnierLoss(ReducedLoss):
    """``sqrt(difference^2 + eps^2)``, a smooth L1 loss (Charbonnier et al. 1994).

    Args:
        loss_weight: weight of the loss.
        reduction: 'mean', 'sum', or 'none' for one value per element.
        eps: smoothing constant, the loss at zero difference, in units of the image.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean', eps: float = 1e-3) -> None:
        super().__init__(loss_weight, reduction)
        self.eps = eps

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the smoothed absolute difference of each element.

        Args:
            pred: prediction.
            target: ground truth, same shape.
        """
        return torch.sqrt((pred - target).square() + self.eps**2)

    def extra_repr(self) -> str:
        """Return the constructor arguments for ``print(loss)``."""
        return f'{super().extra_repr()}, eps={self.eps}'
