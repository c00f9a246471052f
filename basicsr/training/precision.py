"""Mixed precision: fp32, bf16, or fp16 with loss scaling."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch
from torch import Tensor

from basicsr.utils.device import warn_of_slow_bfloat16
from basicsr.utils.errors import OptionError

Precision = Literal['fp32', 'bf16', 'fp16']
_HALF = {'bf16': torch.bfloat16, 'fp16': torch.float16}


class Arithmetic:
    """Autocast of the network, and the loss scaling of fp16.

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
            if device.type == 'cuda' and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise OptionError("train.precision: this GPU does not support bf16; use 'fp16' or 'fp32'")
            warn_of_slow_bfloat16(device, 'train.precision: bf16')
        if precision == 'fp16' and device.type == 'mps':
            raise OptionError("train.precision: 'fp16' is not supported on mps; use 'fp32'")
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == 'fp16')  # changes nothing if disabled

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context manager of the network's forward pass."""
        if self.precision == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _HALF[self.precision])

    @property
    def scale(self) -> float:
        """Factor of losses before the backward pass."""
        return float(self._scaler.get_scale())

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of the scaled loss."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Run an optimizer step with finite gradients; the scale may grow."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def skip(self, overflow: bool) -> None:
        """Skip a step; after an overflow of fp16, reduce the scale."""
        self._scaler.update(None if overflow else self.scale)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scale of a checkpoint."""
        if state:  # a checkpoint without fp16 has none
            self._scaler.load_state_dict(state)
