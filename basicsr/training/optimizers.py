"""The optimizers of option files: those of torch, with their names and arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch

from basicsr.utils.registry import OPTIMIZER_REGISTRY, BlockLike, plain_block

_FUSED = ('AdamW', 'Adam', 'SGD')
HOW_TO_STEP = ('fused', 'foreach', 'capturable', 'differentiable')  # of optimizers: only affects rounding

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
    """Build the optimizer of a block; the block is not modified.

    Args:
        params: a network, parameters, or parameter groups as for torch.
        opt: ``type`` ('AdamW') and keyword arguments.
        fuse: use the fused implementation if available and not set in the block; results agree up to
            rounding. CPUs and GPUs of CUDA have one that can skip steps on the device.

    Raises:
        ArgumentError: missing ``type``, unknown or invalid arguments.
        UnknownNameError: unknown optimizer.

    Example:
        >>> block = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 1e-3, 'betas': [0.9, 0.9]}
        >>> build_optimizer([torch.zeros(1, requires_grad=True)], block).defaults['lr']
        0.001
    """
    weights: list[Any] = list(params.parameters() if isinstance(params, torch.nn.Module) else params)
    block = plain_block(opt, 'optimizer')
    if fuse and _can_be_fused(block, weights):
        block['fused'] = True
    return cast(torch.optim.Optimizer, OPTIMIZER_REGISTRY.build(block, params=weights))


def _can_be_fused(block: Mapping[str, Any], params: Sequence[Any]) -> bool:
    if block.get('type') not in _FUSED or set(HOW_TO_STEP) & set(block):
        return False
    if block.get('dampening'):  # after a skipped first step, the fused SGD would dampen the first gradient
        return False
    groups = params if params and isinstance(params[0], dict) else [{'params': params}]
    tensors = (tensor for group in groups for tensor in group['params'])
    return all(tensor.device.type in ('cpu', 'cuda') for tensor in tensors)


def adopt_moments(
    optimizer: torch.optim.Optimizer, opt: BlockLike, saved: Mapping[str, Any], before: str
) -> str | None:
    """Load the moments of a saved optimizer, but keep the settings of the new one.

    Args:
        optimizer: new, with the same parameters in the same order; its settings (lr, betas, ...) are kept.
        opt: its block.
        saved: ``state_dict()`` of the saved optimizer.
        before: ``type`` of the saved optimizer.

    Returns:
        None, or the reason why the moments start at zero: a different type, or additional moments.

    Raises:
        ValueError: the saved optimizer has a different number of parameters.
    """
    old, new = ([key for group in groups for key in group['params']] for groups in
                (saved['param_groups'], optimizer.state_dict()['param_groups']))  # fmt: skip
    if len(old) != len(new):
        raise ValueError(f'it has {len(old)} parameters, the network {len(new)}')
    name = type(optimizer).__name__
    if name != before:
        return f'the optimizer changed from {before} to {name}'
    wanted = _moments_of(opt)
    moments = {key: saved['state'][number] for key, number in zip(new, old, strict=True) if number in saved['state']}
    lacking = sorted({entry for kept in moments.values() for entry in wanted if kept.get(entry) is None})
    if lacking:
        return f'{name} needs {", ".join(lacking)}, which the checkpoint does not contain'
    moments = {key: {entry: kept[entry] for entry in wanted} for key, kept in moments.items()}
    optimizer.load_state_dict({'state': moments, 'param_groups': optimizer.state_dict()['param_groups']})
    return None


def _moments_of(opt: BlockLike) -> list[str]:
    """Return the names of the moments that the optimizer of a block stores per parameter."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = build_optimizer([weight], opt)
    weight.grad = torch.zeros(1)
    optimizer.step()
    return [name for name, value in optimizer.state[weight].items() if value is not None]
