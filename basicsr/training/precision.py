"""Mixed precision: fp32, bf16, or fp16 with loss scaling. Nothing here waits for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from basicsr.options import Options
from basicsr.utils.device import fast_bfloat16, prefers_channels_last, require_bfloat16, tf32
from basicsr.utils.errors import OptionError

Precision = Literal['fp32', 'bf16', 'fp16']
_HALF = {'bf16': torch.bfloat16, 'fp16': torch.float16}
_FIRST_SCALE, _GROWTH, _BACKOFF, _INTERVAL = 65536.0, 2.0, 0.5, 2000  # the defaults of torch.amp.GradScaler
_LARGEST_SCALE = 2.0**127  # of float32


class Arithmetic:
    """Autocast of the network, and the loss scaling of fp16.

    ``torch.amp.GradScaler`` reads the device in every step; here, its rules are computed on the device.

    Args:
        precision: of the network; weights, gradients and losses are always fp32.
        device: of the network.

    Raises:
        OptionError: the device does not support it.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.precision = precision
        self.device = device
        if precision == 'bf16':
            require_bfloat16(device, 'train.precision', "'fp16' or 'fp32'")
        if precision == 'fp16' and device.type == 'mps':
            raise OptionError("train.precision: 'fp16' is not supported on mps; use 'fp32'")
        self.scales_losses = precision == 'fp16'
        place = device if self.scales_losses else 'cpu'
        self.scale = torch.full((), _FIRST_SCALE if self.scales_losses else 1.0, device=place)
        self._good_steps = torch.zeros((), dtype=torch.int32, device=place)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context manager of the network's forward pass."""
        return autocast(self.precision, self.device)

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of the scaled loss."""
        (loss * self.scale if self.scales_losses else loss).backward()

    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide the gradients by the scale, in place."""
        if self.scales_losses:
            torch._foreach_mul_(list(gradients), self.scale.reciprocal())

    def update(self, bad_loss: Tensor, bad_gradient: Tensor) -> Tensor:
        """Update the scale after a step: halve it after an overflow, double it after 2000 good steps.

        Args:
            bad_loss: whether a loss is not finite, on the device.
            bad_gradient: whether a gradient is not finite.

        Returns:
            whether fp16 overflowed: the loss is finite, the gradient is not, and a smaller scale can help.
        """
        if not self.scales_losses:
            return torch.zeros_like(bad_gradient)
        overflow = bad_gradient & ~bad_loss & (self.scale > 1)
        good = ~(bad_loss | bad_gradient)
        count = torch.where(overflow, 0, self._good_steps + good)
        grown = good & (count == _INTERVAL)
        self._good_steps = torch.where(grown, 0, count).int()
        factor = torch.where(overflow, _BACKOFF, torch.where(grown, _GROWTH, 1.0))
        self.scale = (self.scale * factor).clamp(max=_LARGEST_SCALE)
        return overflow

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, in the form of ``torch.amp.GradScaler``; empty without fp16."""
        if not self.scales_losses:
            return {}
        return {
            'scale': self.scale.item(),
            'growth_factor': _GROWTH,
            'backoff_factor': _BACKOFF,
            'growth_interval': _INTERVAL,
            '_growth_tracker': int(self._good_steps.item()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scale of a checkpoint."""
        if state and self.scales_losses:  # a checkpoint without fp16 has none
            self.scale = torch.full_like(self.scale, state['scale'])
            self._good_steps = torch.full_like(self._good_steps, state['_growth_tracker'])


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the context manager in which a network computes in this precision."""
    return contextlib.nullcontext() if precision == 'fp32' else torch.autocast(device.type, _HALF[precision])


def memory_format_of(options: Options, device: torch.device) -> torch.memory_format:
    """Return the memory format of ``train.channels_last``, or else that of the fastest convolutions on this device.

    Without training, ``val.precision`` decides, and CPUs use contiguous memory: weights are reordered there anyway.
    """
    train = options.train
    if train is None and device.type == 'cpu':
        return torch.contiguous_format
    if train is not None and train.channels_last is not None:
        last = train.channels_last
    else:
        precision, rounds = (options.val.precision, False) if train is None else (train.precision, train.tf32)
        with tf32(rounds):
            last = prefers_channels_last(device, _computing_dtype(precision, device))
    return torch.channels_last if last else torch.contiguous_format


def _computing_dtype(precision: Precision | Literal['auto'], device: torch.device) -> torch.dtype:
    """Return the dtype of products and convolutions in this precision; for ``auto``, that of the fastest units."""
    if precision == 'auto':
        return torch.bfloat16 if fast_bfloat16(device) else torch.float32
    return _HALF.get(precision, torch.float32)


@torch.no_grad()
def step_unless(skip: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Run an optimizer step unless ``skip``, a scalar on the device, is 1.

    Fused optimizers read it on the device, as they do for ``torch.amp.GradScaler``; for others, the host waits.
    """
    fused: Any = optimizer
    if not all(group.get('fused') for group in optimizer.param_groups):
        if not skip:
            optimizer.step()
        return
    without_momentum = _first_momenta(optimizer)
    fused.grad_scale, fused.found_inf = None, skip
    try:
        optimizer.step()
    finally:
        del fused.grad_scale, fused.found_inf
    for parameter in without_momentum:  # a skipped step allocates them and writes nothing
        optimizer.state[parameter]['momentum_buffer'].masked_fill_(skip > 0, 0)


def _first_momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters for which the next step of SGD creates a momentum, which starts as the gradient."""
    if not isinstance(optimizer, torch.optim.SGD):
        return []
    return [
        parameter
        for group in optimizer.param_groups
        if group['momentum']
        for parameter in group['params']
        if parameter.grad is not None and optimizer.state.get(parameter, {}).get('momentum_buffer') is None
    ]
