"""The optimizers an option file may name: those of torch, under their own names and arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from basicsr.utils.registry import OPTIMIZER_REGISTRY, BlockLike, plain_block

_FUSED = ('AdamW', 'Adam', 'SGD')

for _optimizer in (
    torch.optim.AdamW,
    torch.optim.Adam,
    torch.optim.SGD,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.RMSprop,
):
    OPTIMIZER_REGISTRY.register(_optimizer)


def build_optimizer(
    params: torch.nn.Module | Iterable[torch.Tensor] | Iterable[dict[str, Any]], opt: BlockLike, fuse: bool = False
) -> torch.optim.Optimizer:
    """Build the optimizer that a block names; the block is left as it is.

    Args:
        params: a network, parameters, or groups of them as torch takes them.
        opt: ``type`` ('AdamW') and keyword arguments.
        fuse: update all parameters in one pass where the optimizer can and the block says nothing about it; the
            result is the same up to rounding.

    Raises:
        ArgumentError: missing ``type``, unknown or unfit arguments.
        UnknownNameError: no optimizer of that name.

    Example:
        >>> block = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]}
        >>> build_optimizer([torch.zeros(1, requires_grad=True)], block).defaults['lr']
        0.001
    """
    params = params.parameters() if isinstance(params, torch.nn.Module) else params
    block = plain_block(opt, 'optimizer')
    if fuse and block.get('type') in _FUSED and not {'fused', 'foreach', 'capturable', 'differentiable'} & set(block):
        block['fused'] = True
    optimizer: torch.optim.Optimizer = OPTIMIZER_REGISTRY.build(block, params=list(params))
    return optimizer
