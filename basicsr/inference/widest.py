"""Size of the largest tensor in a forward pass: many GPU kernels index its elements with 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs.contract import restore
from basicsr.archs.map_unit import Masks

INDEX_LIMIT = 2**31
"""Tensors with this many elements make some kernels fail or return wrong values."""
_PIECE = 128  # side in pixels of the crop that is run in place of a large image
_known: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


class _Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor made while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def elements_a_pixel(net: nn.Module, lq: Tensor, masks: Masks | None = None) -> float:
    """Return the elements of the largest tensor of a forward pass per pixel of the image; cached per network.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W); only a corner of it is run.
        masks: of the image, for networks with a prior.
    """
    if net not in _known:
        corner = (..., slice(0, _PIECE), slice(0, _PIECE))
        piece = lq[corner]
        inputs: tuple[Any, ...] = (piece,)
        if masks is not None:
            cut = [stack[corner] for stack in masks] if isinstance(masks, Sequence) else masks[corner]
            inputs = piece, cut
        with torch.inference_mode(), _Largest() as largest:
            restore(net, *inputs)
        _known[net] = largest.elements / (piece.shape[-2] * piece.shape[-1])
    return _known[net]


def countable(net: nn.Module, lq: Tensor, masks: Masks | None = None, limit: int = INDEX_LIMIT) -> bool:
    """Return whether a forward pass over the whole image stays below ``limit`` elements in each tensor.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W).
        masks: of the image, for networks with a prior.
        limit: elements.
    """
    pixels = lq.shape[-2] * lq.shape[-1]
    channels = max((parameter.shape[0] for parameter in net.parameters() if parameter.dim() > 1), default=1)
    if 4 * channels * pixels < limit:  # no network is wider at full resolution
        return True
    return elements_a_pixel(net, lq, masks) * pixels < limit
