"""The largest tensor that a network makes of an image: kernels of GPUs count its elements in 32 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs.map_unit import Masks

INDEX_LIMIT = 2**31
"""Elements of a tensor from which on some kernels fail, or are wrong."""
_PIECE = 128  # pixels along each side of the image that is looked at in place of a large one
_known: WeakKeyDictionary[nn.Module, float] = WeakKeyDictionary()


class _Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that is made meanwhile."""

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
    """Elements of the largest tensor of a forward pass / pixels of the image; found once for each network.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W); a corner of it is put through the network.
        masks: of the image, for networks that take them.
    """
    if net not in _known:
        corner = (..., slice(0, _PIECE), slice(0, _PIECE))
        piece = lq[corner]
        inputs: tuple[Any, ...] = (piece,)
        if masks is not None:
            cut = [stack[corner] for stack in masks] if isinstance(masks, Sequence) else masks[corner]
            inputs = piece, cut
        with torch.inference_mode(), _Largest() as largest:
            net(*inputs)
        _known[net] = largest.elements / (piece.shape[-2] * piece.shape[-1])
    return _known[net]


def countable(net: nn.Module, lq: Tensor, masks: Masks | None = None, limit: int = INDEX_LIMIT) -> bool:
    """Whether an image can go through a network whole without a tensor of ``limit`` elements or more.

    Args:
        net: in evaluation mode.
        lq: (1, C, H, W).
        masks: of the image, for networks that take them.
        limit: elements.
    """
    pixels = lq.shape[-2] * lq.shape[-1]
    channels = max((parameter.shape[0] for parameter in net.parameters() if parameter.dim() > 1), default=1)
    if 4 * channels * pixels < limit:  # so wide is no network at its full resolution
        return True
    return elements_a_pixel(net, lq, masks) * pixels < limit
