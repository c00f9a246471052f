"""Base class of losses, with checks, precision, reduction and weight."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import nn

from basicsr.utils.errors import ArgumentError, ShapeError

Reduction: TypeAlias = Literal['none', 'mean', 'sum']


class ReducedLoss(nn.Module):
    """An elementwise loss with reduction and weight.

    Args:
        loss_weight: factor of the result.
        reduction: 'mean', 'sum', or 'none' for one value per element.

    Raises:
        ArgumentError: unknown reduction.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean') -> None:
        super().__init__()
        require_reduction(type(self).__name__, reduction, ('none', 'mean', 'sum'))
        self.loss_weight = loss_weight
        self.reduction = reduction

    def elementwise(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the loss of each element.

        Args:
            pred: prediction, fp32 or fp64.
            target: ground truth, same shape.
        """
        raise NotImplementedError

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        Args:
            pred: prediction, any shape, nominally in [0, 1], not clamped; half precision is converted to fp32.
            target: ground truth, same shape.

        Returns:
            a scalar, or one value per element for reduction 'none'.

        Raises:
            ShapeError: the shapes differ.
        """
        pred, target = comparable(pred, target)
        values = self.elementwise(pred, target)
        if self.reduction == 'mean':
            values = values.mean()
        elif self.reduction == 'sum':
            values = values.sum()
        return self.loss_weight * values

    def extra_repr(self) -> str:
        """Return the constructor arguments for ``print(loss)``."""
        return f'loss_weight={self.loss_weight}, reduction={self.reduction!r}'


def comparable(pred: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Check that the shapes agree, and convert half precision to fp32.

    Args:
        pred: prediction.
        target: ground truth.

    Raises:
        ShapeError: the shapes differ, which broadcasting would hide.
        ArgumentError: integer tensors.
    """
    if pred.shape != target.shape:
        raise ShapeError(
            f'the prediction has shape {tuple(pred.shape)} but the target has {tuple(target.shape)}; they must agree'
        )
    for name, tensor in (('prediction', pred), ('target', target)):
        if not tensor.is_floating_point():
            raise ArgumentError(f'the {name} is {tensor.dtype}; losses compare floats in [0, 1], divide by 255 first')
    return at_least_fp32(pred), at_least_fp32(target)


def at_least_fp32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor, converted to fp32 if it has half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def require_reduction(loss: str, reduction: str, allowed: tuple[str, ...]) -> None:
    """Check that a loss supports a reduction.

    Args:
        loss: name for the error message.
        reduction: of the loss.
        allowed: supported reductions.

    Raises:
        ArgumentError: not supported.
    """
    if reduction not in allowed:
        raise ArgumentError(f'{loss}: reduction is {reduction!r}; use {" or ".join(map(repr, allowed))}')
