"""What a network learns: the losses of a recipe, and the outputs and kernels that they need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of, restored
from basicsr.losses import WeightedSumLoss, build_loss, targets_of
from basicsr.options.schema_train import TrainOptions
from basicsr.utils.errors import OptionError, ShapeError


class Objective:
    """The losses of a recipe, for one network.

    Args:
        train: the recipe.
        net: the network.
        device: of the losses.
        dtype: of the ground truth.

    Raises:
        OptionError: the recipe needs a network that finds blur kernels, and this one does not.
    """

    def __init__(self, train: TrainOptions, net: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        self.name, self.dtype, self.true_kernels = type(net).__name__, dtype, train.true_kernels
        self.losses = {
            name: build_loss(block).to(device)
            for name, block in (('l_pix', train.pixel_opt), ('l_percep', train.perceptual_opt))
            if block is not None
        }
        self.kernel_loss = None if train.kernel_opt is None else build_loss(train.kernel_opt).to(device)
        if self.needs_kernels and contract_of(net).kernel_role != 'finds':
            raise OptionError(
                f'train.kernel_opt and train.true_kernels are for networks that find a blur kernel, such as '
                f'AnalysisSynthesisNet; {self.name} does not'
            )

    @property
    def needs_kernels(self) -> bool:
        """Whether batches need the true blur kernels."""
        return self.true_kernels or self.kernel_loss is not None

    def arguments(self, batch: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return further arguments of a network that finds kernels: the true ones, or which results are wanted."""
        if self.true_kernels:
            return (batch['kernel'].to(self.dtype),)
        return () if self.kernel_loss is None else (None, 'both' if self.losses else 'kernel')

    def loss_of(self, outputs: Any, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of what the network returns.

        Args:
            outputs: an image, or a list with the image as last element, after the kernels for a loss of kernels.
            batch: with ``gt`` (B, C, H, W) or ``kernel`` (B, h, w).

        Returns:
            the total loss, a scalar; and all losses by name, with the terms of summed losses.

        Raises:
            ShapeError: the last output has a different shape than the ground truth.
        """
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        terms: dict[str, Tensor] = {}
        if self.kernel_loss is not None:
            terms['l_kernel'] = self.kernel_loss(outputs.pop(0), batch['kernel'].to(self.dtype))
        if self.losses:
            terms |= self._image_terms(outputs, batch['gt'].to(self.dtype))
        return torch.stack([terms[name] for name in ('l_kernel', *self.losses) if name in terms]).sum(), terms

    def _image_terms(self, outputs: list[Tensor], gt: Tensor) -> dict[str, Tensor]:
        """Compute the losses of restored images, the result last, and the terms of summed losses."""
        if (shape := restored(outputs, self.name).shape) != gt.shape:
            raise ShapeError(
                f'{self.name}: the (last) output has shape {tuple(shape)}, the ground truth {tuple(gt.shape)}'
            )
        terms: dict[str, Tensor] = {}
        for output, target in zip(outputs, targets_of(outputs, gt), strict=True):
            for name, loss in self.losses.items():
                if isinstance(loss, WeightedSumLoss):
                    parts = loss.terms(output, target)
                    value = torch.stack(list(parts.values())).sum()
                else:
                    parts, value = {}, loss(output, target)
                for key, part in {name: value, **{f'{name}_{term}': part for term, part in parts.items()}}.items():
                    terms[key] = terms[key] + part if key in terms else part
        return terms
