"""Compute costly metrics on a GPU: one at a time, beside the network, and on the CPU if the memory is too small."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import torch

from basicsr.utils.device import free_memory, is_out_of_memory

T = TypeVar('T')

logger = logging.getLogger(__name__)


def on_device(device: str, compute: Callable[[str], T]) -> T:
    """Return ``compute(device)``, or ``compute('cpu')`` if the memory of the device is exhausted.

    A device computes one result at a time, so that the memory does not depend on the number of threads. On a GPU, this
    happens on a stream of its own: a network on another stream does not wait for it. ``compute`` must therefore copy
    its inputs to the device itself, and return numbers, not tensors.

    Args:
        device: 'cpu', where threads do not wait for each other, or a GPU.
        compute: called with the device.
    """
    if device == 'cpu':
        return compute(device)
    with _lock_of(device), _stream_of(device):
        try:
            return compute(device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            logger.info('Out of memory on %s; scoring an image on the CPU', device)
        free_memory(torch.device(device))  # outside the handler, where the error no longer holds tensors
    return compute('cpu')


_locks: dict[str, threading.Lock] = {}


def _lock_of(device: str) -> threading.Lock:
    return _locks.setdefault(device, threading.Lock())


def _stream_of(device: str) -> contextlib.AbstractContextManager[object]:
    return torch.cuda.stream(_side_stream(device)) if device.startswith('cuda') else contextlib.nullcontext()


@functools.cache
def _side_stream(device: str) -> torch.cuda.Stream:
    return torch.cuda.Stream(torch.device(device))
