"""Losses that compare a restored image with its ground truth."""

from __future__ import annotations

from torch import nn

from basicsr.losses.frequency_loss import FFTLoss
from basicsr.losses.kernel_loss import KernelLoss
from basicsr.losses.pixel_loss import CharbonnierLoss, L1Loss, MSELoss, PSNRLoss
from basicsr.losses.scales import targets_of
from basicsr.losses.weighted_sum_loss import WeightedSumLoss
from basicsr.utils.registry import LOSS_REGISTRY, BlockLike

__all__ = [
    'CharbonnierLoss',
    'FFTLoss',
    'KernelLoss',
    'L1Loss',
    'MSELoss',
    'PSNRLoss',
    'WeightedSumLoss',
    'build_loss',
    'targets_of',
]


def build_loss(opt: BlockLike) -> nn.Module:
    """Build the loss of a block; the block is not modified.

    Args:
        opt: ``type`` ('PSNRLoss') and keyword arguments.

    Raises:
        ArgumentError: missing ``type``, unknown or invalid arguments.
        UnknownNameError: unknown loss.

    Example:
        >>> build_loss({'type': 'L1Loss', 'loss_weight': 0.5})
        L1Loss(loss_weight=0.5, reduction='mean')
    """
    loss: nn.Module = LOSS_REGISTRY.build(opt)
    return loss
