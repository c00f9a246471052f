"""``train.precision: auto``: measure once whether bf16 makes training steps faster on this device."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.training.precision import Precision, autocast
from basicsr.utils.device import fast_bfloat16, free_memory, is_out_of_memory

logger = logging.getLogger(__name__)

_ROUNDS = 3
_GAIN = 0.95  # bf16 needs at most this share of the time of fp32; less gain is within the noise


def measured_precision(net: nn.Module, loss: Callable[[], Tensor], device: torch.device) -> Precision:
    """Return bf16 if a forward and backward pass of the network is clearly faster in it, else fp32.

    The random generators, the gradients and the buffers of the network are afterwards as before.

    Args:
        net: in training mode.
        loss: runs the forward pass and returns the loss, a scalar.
        device: of the network.
    """
    if not fast_bfloat16(device):
        logger.info('train.precision: auto chose fp32, since this %s has no bf16 units', device.type)
        return 'fp32'
    buffers = [buffer.clone() for buffer in net.buffers()]
    seconds: dict[Precision, list[float]] = {'fp32': [], 'bf16': []}
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        try:
            for _ in range(_ROUNDS + 1):
                for precision, found in seconds.items():
                    found.append(_timed(loss, precision, device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    net.zero_grad()
    for buffer, before in zip(net.buffers(), buffers, strict=True):
        buffer.copy_(before)
    if not seconds['bf16'][1:]:
        free_memory(device)
        fits = bool(seconds['fp32'])  # if not even bf16 fits, the first step will say so
        chosen: Precision = 'fp32' if fits else 'bf16'
        logger.info('train.precision: auto chose %s, since %s runs out of memory', chosen, 'bf16' if fits else 'fp32')
        return chosen
    plain, half = (statistics.median(found[1:]) for found in seconds.values())  # the first round warms up
    chosen = 'bf16' if half <= _GAIN * plain else 'fp32'
    text = 'train.precision: auto chose %s; forward and backward pass take %.3g s in fp32, %.3g s in bf16'
    logger.info(text, chosen, plain, half)
    return chosen


def _timed(loss: Callable[[], Tensor], precision: Precision, device: torch.device) -> float:
    wait: Any = torch.cuda.synchronize if device.type == 'cuda' else lambda device: None
    wait(device)
    start = time.perf_counter()
    with autocast(precision, device):
        total = loss()
    total.backward()
    wait(device)
    return time.perf_counter() - start
