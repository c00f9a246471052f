"""One network a file, ``*_arch.py``, found by that suffix; and the mask average pooling unit they share."""

from __future__ import annotations

import copy

from torch import nn

from basicsr.utils.registry import ARCH_REGISTRY, BlockLike, plain_block

__all__ = ['ARCH_REGISTRY', 'build_network']


def build_network(opt: BlockLike) -> nn.Module:
    """Build the network that ``opt['type']`` names with the other keys as keyword arguments.

    The block is kept as ``net.options``, so that a checkpoint can say how to rebuild its network.

    Args:
        opt: ``type`` and the arguments of the class, or the ``network_g`` of an option file; left unchanged.

    Raises:
        UnknownNameError: no such network.
        ArgumentError: the arguments do not fit its signature.

    >>> build_network({'type': 'NAFNet', 'width': 4}).input_rule.multiple
    (1, 1)
    """
    net: nn.Module = ARCH_REGISTRY.build(opt)
    net.options = copy.deepcopy(plain_block(opt, 'network'))  # type: ignore[assignment]
    return net
