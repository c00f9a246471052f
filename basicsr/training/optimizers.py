"""The optimizers an option file may name: those of torch, under their own names and arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def adopt_moments(
    optimizer: torch.optim.Optimizer, opt: BlockLike, saved: Mapping[str, Any], before: str
) -> str | None:
    """Continue with the moments of a saved optimizer, under the settings that ``optimizer`` was built with.

    Args:
        optimizer: new, of the same parameters in the same order; its own settings stay (lr, betas, ...).
        opt: the block that it was built of.
        saved: ``state_dict()`` of the earlier optimizer.
        before: ``type`` of the earlier optimizer.

    Returns:
        None; or why the moments start at zero instead: another optimizer, or one that keeps more than the earlier one.

    Raises:
        ValueError: the saved optimizer is of another number of parameters.
    """
    old, new = ([key for group in groups for key in group['params']] for groups in
                (saved['param_groups'], optimizer.state_dict()['param_groups']))  # fmt: skip
    if len(old) != len(new):
        raise ValueError(f'it is of {len(old)} parameters, the network has {len(new)}')
    name = type(optimizer).__name__
    if name != before:
        return f'the optimizer was {before} and is {name} now'
    wanted = _moments_of(opt)
    moments = {key: saved['state'][number] for key, number in zip(new, old, strict=True) if number in saved['state']}
    lacking = sorted({entry for kept in moments.values() for entry in wanted if kept.get(entry) is None})
    if lacking:
        return f'{name} needs {", ".join(lacking)} now, which the checkpoint does not have'
    moments = {key: {entry: kept[entry] for entry in wanted} for key, kept in moments.items()}
    optimizer.load_state_dict({'state': moments, 'param_groups': optimizer.state_dict()['param_groups']})
    return None


def _moments_of(opt: BlockLike) -> list[str]:
    """What the optimizer of a block keeps of each parameter."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = build_optimizer([weight], opt)
    weight.grad = torch.zeros(1)
    optimizer.step()
    return [name for name, value in optimizer.state[weight].items() if value is not None]
