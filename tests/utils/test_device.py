"""Recognise out-of-memory errors."""

from __future__ import annotations

import pytest

from basicsr.utils import device


@pytest.mark.parametrize(
    'text',
    [
        'CUDA out of memory. Tried to allocate 1 GiB',
        'CUDA error: out of memory',
        'MPS backend out of memory (MPS allocated: 18 GB)',
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes",
        'DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes',
        'cuDNN error: CUDNN_STATUS_NOT_SUPPORTED',
        'CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)',
        'cuFFT error: CUFFT_ALLOC_FAILED',
        'Expected canUse32BitIndexMath(input) && canUse32BitIndexMath(output) to be true',
    ],
)
def test_errors_that_say_that_the_memory_is_full(text):
    assert device.is_out_of_memory(RuntimeError(text))
    assert device.is_out_of_memory(MemoryError())
    assert not device.is_out_of_memory(RuntimeError('a bug'))
    assert not device.is_out_of_memory(ValueError(text))
