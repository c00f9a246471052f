"""Tensors that depend on sizes alone: computed once on the CPU, and kept on each device that needs them."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from basicsr.utils.device import to_device

_KEPT = 64


def constants(compute: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Tensor, ...]]:
    """Decorate a function of sizes (integers, None, and tuples of them) that returns CPU tensors.

    The decorated function has two more arguments first: the device, and the dtype of floating-point tensors. Its
    results are kept for the 64 latest arguments, and must not be modified. To ``torch.compile``, they are constants:
    a graph for any size is compiled again for every size. Under a ``FakeTensorMode``, they are fake; the arguments must
    have been used before, since fake tensors cannot be read.

    Args:
        compute: the function; an empty tuple is a valid result.
    """
    on_cpu = lru_cache(maxsize=_KEPT)(_plain(compute))
    kept: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()

    @torch.compiler.assume_constant_result
    def known(device: torch.device, dtype: torch.dtype, *arguments: Any) -> tuple[Tensor, ...]:
        key = (device, dtype, *arguments)
        if key in kept:
            kept.move_to_end(key)
            return kept[key]
        with torch.inference_mode(False):  # training may use them, too
            found = tuple(_moved(array, device, dtype) for array in on_cpu(*arguments))
        if all(type(tensor) is Tensor for tensor in found):  # fake tensors are for their mode only
            kept[key] = found
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        return found

    def on_device(device: torch.device, dtype: torch.dtype, *arguments: Any) -> tuple[Tensor, ...]:
        return known(device, dtype, *(_number(argument) for argument in arguments))  # type: ignore[no-any-return]

    return on_device


def _number(size: Any) -> Any:
    """Return sizes as plain numbers; a compiler that sees several sizes replaces them by symbols."""
    if isinstance(size, tuple):
        return tuple(_number(part) for part in size)
    return size if size is None else operator.index(size)


def _plain(compute: Callable[..., tuple[Tensor, ...]]) -> Callable[..., tuple[Any, ...]]:
    """Return the function with arrays as results, which no mode of torch changes."""

    def computed(*arguments: Any) -> tuple[Any, ...]:
        with torch.inference_mode(False), torch.no_grad():
            return tuple(tensor.numpy() for tensor in compute(*arguments))

    return computed


def _moved(array: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = torch.as_tensor(array)
    return to_device(tensor, device, dtype if tensor.is_floating_point() else None)
