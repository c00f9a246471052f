"""Choose a device, and ask for its abilities."""

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
    """Return the device for ``name`` on this machine.

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
        raise OptionError(f"unknown device '{name}'; use auto, cpu, cuda, cuda:0 or mps") from error
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise OptionError(f"'{name}' is not available: this machine has {torch.cuda.device_count()} CUDA devices")
    if device.type == 'mps' and not torch.backends.mps.is_available():
        raise OptionError("'mps' is not available; use cpu")
    return device


def hide_gpus() -> None:
    """Hide the GPUs from a process on the CPU; torch's optimizers would initialize them.

    A CUDA context takes about half a gigabyte. Call this before any other use of GPUs.
    """
    os.environ['CUDA_VISIBLE_DEVICES'] = ''


def fast_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 products are faster than float32: on recent GPUs, and CPUs with AMX or AVX512-BF16."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != 'cpu':
        return False
    checks = ('_is_amx_tile_supported', '_is_avx512_bf16_supported')  # older versions of torch lack some
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def warn_of_slow_bfloat16(device: torch.device, what: str) -> None:
    """Log a warning if bfloat16 was requested and is slower than float32.

    Args:
        device: the device.
        what: the setting that requests it, such as ``train.precision: bf16``.
    """
    if device.type in ('cpu', 'cuda') and not fast_bfloat16(device):
        which = 'CPU has no bf16 units (AMX or AVX512-BF16)' if device.type == 'cpu' else 'GPU has no bf16 units'
        logger.warning('%s: this %s and emulates them, about ten times slower than fp32', what, which)


def require_bfloat16(device: torch.device, key: str, instead: str) -> None:
    """Check that a GPU computes in bfloat16, for an option that requests it; log a warning on a CPU that emulates it.

    Args:
        device: the device. GPUs before Ampere would emulate bfloat16 as well.
        key: of the option.
        instead: values of the option to suggest.

    Raises:
        OptionError: the GPU does not support it.
    """
    if device.type == 'cuda' and not fast_bfloat16(device):
        raise OptionError(f'{key}: this GPU does not support bf16; use {instead}')
    warn_of_slow_bfloat16(device, f'{key}: bf16')


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the device, or the machine, has too little memory for tensors of this size."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _NO_MEMORY)


def free_memory(device: torch.device) -> None:
    """Release cached memory of the device."""
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    elif device.type == 'mps':
        torch.mps.empty_cache()


@contextlib.contextmanager
def without_tuning() -> Iterator[None]:
    """Disable cuDNN benchmarking, which would run again for every new image size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def device_of_process(name: str, index: int) -> str:
    """Return the device of one of several processes: ``auto`` and ``cuda`` distribute the GPUs of this machine.

    Args:
        name: as for :func:`select_device`.
        index: of the process, from 0.
    """
    count = torch.cuda.device_count() if name in ('auto', 'cuda') else 0
    return f'cuda:{index % count}' if count > 1 else name


def local_rank() -> int:
    """Return the number of this process on its machine under torchrun or Slurm (srun), else 0."""
    return int(os.environ.get('LOCAL_RANK') or os.environ.get('SLURM_LOCALID') or 0)


def signed(x: Tensor) -> Tensor:
    """Convert uint16 to int32 and uint32 to int64, with the same numbers, because few GPU operations support them.

    The bits are read as int16 or int32, which all operations support.
    """
    if x.dtype == torch.uint16:
        return x.view(torch.int16).int() & 0xFFFF
    if x.dtype == torch.uint32:
        return x.view(torch.int32).long() & 0xFFFFFFFF
    return x


def without_autocast(x: Tensor) -> contextlib.AbstractContextManager[object]:
    """Return a context without autocast on the device of ``x``, for sums that need full precision."""
    if x.is_meta:  # where shapes are counted; there is no autocast
        return contextlib.nullcontext()
    return torch.autocast(x.device.type, enabled=False)


def prefers_channels_last(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether convolutions are faster in channels_last memory: on CPUs and tensor cores.

    Tensor cores compute in half precision (from Volta), and in TF32 (from Ampere, unless it is disabled); other
    convolutions on GPUs, and Apple GPUs, are faster in contiguous memory.

    Args:
        device: of the network.
        dtype: of the convolutions.
    """
    if device.type != 'cuda':
        return device.type == 'cpu'
    if dtype in (torch.bfloat16, torch.float16):
        return torch.cuda.get_device_capability(device) >= (7, 0)
    with_tf32 = dtype == torch.float32 and torch.backends.cudnn.allow_tf32
    return with_tf32 and torch.cuda.get_device_capability(device) >= (8, 0)


def to_device(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Copy a tensor to a device, without waiting where that is safe: Apple GPUs might read it before it is complete.

    Args:
        x: on any device. Copies to a GPU of CUDA overlap with the host if it is in page-locked memory.
        device: target device.
        dtype: of the result, converted before the copy; None keeps it.
    """
    return x.to(dtype or x.dtype).to(device, non_blocking=device.type == 'cuda')


@contextlib.contextmanager
def tf32(enabled: bool | None) -> Iterator[None]:
    """Let GPUs round the inputs of float32 products and convolutions to TF32, or not; None changes nothing.

    By default, torch uses TF32 for convolutions and not for products. The setting is that of the process: a backward
    pass must run inside as well. :func:`~basicsr.utils.exact_products.exact_matmul` never uses TF32.
    """
    if enabled is None:
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = enabled
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


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
