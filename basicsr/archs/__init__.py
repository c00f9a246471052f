"""Networks, one per file (``*_arch.py``), their contract, and mask average pooling (``map_unit.py``)."""

from __future__ import annotations

import copy

from torch import nn

from basicsr.utils.registry import ARCH_REGISTRY, BlockLike, plain_block

__all__ = ['ARCH_REGISTRY', 'build_network']


def build_network(opt: BlockLike) -> nn.Module:
    """Build the network ``opt['type']`` with the other keys as keyword arguments.

    The block is kept as ``net.options``; checkpoints store it to rebuild the network.

    Args:
        opt: ``type`` and the arguments of the class, or the ``network_g`` of an option file. It is not modified.

    Raises:
        UnknownNameError: the network is not registered.
        ArgumentError: the arguments do not fit its signature.

    >>> build_network({'type': 'NAFNet', 'width': 4}).input_rule.multiple
    (1, 1)
    """
    net: nn.Module = ARCH_REGISTRY.build(opt)
    net.options = copy.deepcopy(plain_block(opt, 'network'))  # type: ignore[assignment]
    return net
