"""Activation checkpointing: compute the activations of blocks again in the backward pass instead of keeping them."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from basicsr.archs.contract import contract_of
from basicsr.utils.errors import ArgumentError


def checkpoint_activations(net: nn.Module) -> int:
    """Let the blocks of a network keep only their inputs for the backward pass, which computes the rest again.

    Outputs and gradients stay the same, on the CPU to the last bit. Nothing changes without gradients. Copies of the
    network do the same; parameters and their names do not change.

    Args:
        net: with ``block_types``, see :class:`~basicsr.archs.contract.Contract`; changed in place.

    Returns:
        the number of blocks.

    Raises:
        ArgumentError: the network declares no blocks, or has none of them.
    """
    kinds, name = contract_of(net).block_types, type(net).__name__
    if not kinds:
        raise ArgumentError(
            f'{name} declares no blocks whose activations can be computed again; name their classes in block_types = '
            '(Block,) of the network (basicsr/archs/contract.py)'
        )
    blocks = [part for part in net.modules() if isinstance(part, kinds)]
    if not blocks:
        raise ArgumentError(f'{name} has no block of {", ".join(kind.__name__ for kind in kinds)}')
    for block in blocks:
        block.forward = types.MethodType(_forward, block)
    return len(blocks)


def _forward(block: nn.Module, *inputs: Any, **named: Any) -> Any:
    forward = type(block).forward  # not bound: torch.compile does not know MethodType
    if not torch.is_grad_enabled():
        return forward(block, *inputs, **named)
    return checkpoint(forward, block, *inputs, use_reentrant=False, **named)
