"""The one place that chooses a device, or asks what it can do."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)

_NO_MEMORY = (
    'out of memory',  # CUDA, HIP and MPS, also where the driver says it
    'allocate memory',  # the CPU's allocator
    'not enough memory',
    'CUDNN_STATUS_',  # libraries that find no workspace, or fail on sizes beyond theirs
    'CUBLAS_STATUS_ALLOC',
    'CUFFT_',
    'canUse32Bit',  # tensors of 2^31 elements or more
)


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


def hide_gpus() -> None:
    """Keep a process that computes on the CPU from waking GPUs up; torch's optimizers ask them whatever their device.

    A context on a GPU takes about half a gigabyte of it. Call it before anything asks for GPUs.
    """
    os.environ['CUDA_VISIBLE_DEVICES'] = ''


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 products are faster than float32: on GPUs that have them, and CPUs with AMX or AVX512-BF16."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != 'cpu':
        return False
    checks = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')  # older versions of torch lack some
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def warn_of_slow_bfloat16(device: torch.device, what: str) -> None:
    """Say so where bfloat16 was asked for and is slower than float32.

    Args:
        device: where.
        what: asks for it, such as ``train.precision: bf16``.
    """
    if device.type in ('cpu', 'cuda') and not fast_bfloat16(device):
        which = 'CPU has no bf16 units (AMX or AVX512-BF16)' if device.type == 'cpu' else 'GPU has no bf16 units'
        logger.warning('%s: this %s and emulates them, about ten times slower than fp32', what, which)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the machine, has no memory left for tensors of this size."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def free_memory(device: torch.device) -> None:
    """Give memory back that is held for later, so that it can be cut in another way."""
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    elif device.type == 'mps':
        torch.mps.empty_cache()


@contextlib.contextmanager
def without_tuning() -> Iterator[None]:
    """cuDNN tries no algorithms out meanwhile: images of ever new sizes would make it do so for each."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def device_of_process(name: str, index: int) -> str:
    """The device of one of several processes on this machine: ``auto`` and ``cuda`` deal its GPUs out.

    Args:
        name: as for :func:`select_device`.
        index: of the process, from 0.
    """
    count = torch.cuda.device_count() if name in ('auto', 'cuda') else 0
    return f'cuda:{index % count}' if count > 1 else name


def signed(x: Tensor) -> Tensor:
    """The same numbers in a type that every device computes with: uint16 becomes int32, uint32 int64.

    On GPUs few operations know those two types; the same bits as int16 or int32 all of them know.
    """
    if x.dtype == torch.uint16:
        return x.view(torch.int16).int() & 0xFFFF
    if x.dtype == torch.uint32:
        return x.view(torch.int32).long() & 0xFFFFFFFF
    return x


def without_autocast(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """A context in which autocast leaves dtypes alone on the device of ``x``; for sums that need their precision."""
    if x.is_meta:  # where shapes are counted; there is no autocast
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
