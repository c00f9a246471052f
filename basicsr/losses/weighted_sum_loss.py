"""A sum of several losses."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import LOSS_REGISTRY
from basicsr.utils.signature import TypeBlock


@LOSS_REGISTRY.register()
class WeightedSumLoss(nn.Module):
    """The sum of losses, each with its own ``loss_weight``.

    Args:
        losses: blocks of losses (``type`` and keyword arguments), at least one, without reduction 'none'.

    Raises:
        ArgumentError: no losses, or one with reduction 'none'.

    Example:
        >>> loss = WeightedSumLoss([{'type': 'L1Loss'}, {'type': 'FFTLoss', 'loss_weight': 0.1}])
        >>> {name: value.item() for name, value in loss.terms(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).items()}
        {'L1Loss': 1.0, 'FFTLoss': 0.05000000074505806}
    """

    def __init__(self, losses: Annotated[list[dict[str, Any]], TypeBlock('loss')]) -> None:
        super().__init__()
        if not losses:
            raise ArgumentError('WeightedSumLoss: losses is empty; add at least one block with a type')
        self.losses = nn.ModuleDict()
        for block in losses:
            if block.get('reduction') == 'none':
                raise ArgumentError(f"WeightedSumLoss: {block.get('type')} has reduction 'none'; use 'mean' or 'sum'")
            self.losses[self._free_name(str(block.get('type')))] = LOSS_REGISTRY.build(block)

    def terms(self, pred: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the weighted losses, for logging.

        Args:
            pred: prediction (B, C, H, W), nominally in [0, 1].
            target: ground truth, same shape.

        Returns:
            scalars by type name; a second loss of the same type is named ``L1Loss_2``.

        Raises:
            ShapeError: the shapes differ.
        """
        return {name: loss(pred, target) for name, loss in self.losses.items()}

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the sum of all terms.

        Args:
            pred: prediction (B, C, H, W), nominally in [0, 1].
            target: ground truth, same shape.

        Raises:
            ShapeError: the shapes differ.
        """
        return torch.stack(list(self.terms(pred, target).values())).sum()

    def _free_name(self, name: str) -> str:
        same = sum(1 for other in self.losses if other == name or other.startswith(f'{name}_'))
        return name if same == 0 else f'{name}_{same + 1}'
