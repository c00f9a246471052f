"""The one place that chooses a device, or asks what it can do."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from basicsr.utils.errors import OptionError


def select_device(name: str = 'auto') -> torch.device:
    """The device that ``name`` means on this machine.

    Args:
        name: ``auto`` (CUDA, else Apple's MPS, else the CPU), or what ``torch.device`` takes: ``cpu``, ``cuda:1``.

    Raises:
        OptionError: no such device here.
    """
    if name == 'auto':
        if torch.cuda.is_available():
            return torch.device('cuda')
        return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise OptionError(f"no device is called '{name}'; use auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"'{name}' is not on this machine: it has {torch.cuda.device_count()} CUDA devices")
    if device.type == 'mps' and not torch.backends.mps.is_available():
        raise OptionError("'mps' is not on this machine; use cpu")
    return device


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32: on GPUs that have them, and CPUs with AMX or AVX512-BF16."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != 'cpu':
        return False
    checks = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')  # older versions of torch lack some
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def device_of_process(name: str, index: int) -> str:
    """The device of one of several processes on this machine: ``auto`` and ``cuda`` deal its GPUs out.

    Args:
        name: as for :func:`select_device`.
        index: of the process, from 0.
    """
    count = torch.cuda.device_count() if name in ('auto', 'cuda') else 0
    return f'cuda:{index % count}' if count > 1 else name


def without_autocast(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which autocast leaves dtypes alone on the device of ``x``; for sums that need their precision."""
    if not torch.amp.is_autocast_available(x.device.type):  # the meta device, where shapes are counted
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def set_memory_format(net: nn.Module, memory_format: torch.memory_format) -> None:
    """Put the weights of two-dimensional convolutions in a memory format; others have no choice.

    (``net.to(memory_format=torch.channels_last)`` refuses networks with three-dimensional convolutions.)

    Args:
        net: changed in place.
        memory_format: ``torch.channels_last`` or ``torch.contiguous_format``.
    """
    for parameter in net.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
