"""The arithmetic of a training step: fp32, bf16, or fp16 with a loss scale."""

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
    """Autocast of the network, and the scale of the loss that fp16 needs.

    Args:
        precision: weights, gradients and losses are fp32 in each.
        device: where.

    Raises:
        OptionError: the device cannot do it.
    """

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.precision = precision
        self.device = device
        if (
            precision == 'bf16'
            and device.type == 'cuda'
            and not torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            raise OptionError("train.precision: this GPU has no bf16; take 'fp16' or 'fp32'")
        if precision == 'bf16':
            warn_of_slow_bfloat16(device, 'train.precision: bf16')
        if precision == 'fp16' and device.type == 'mps':
            raise OptionError("train.precision: 'fp16' is not for mps; take 'fp32'")
        self._scaler = torch.amp.GradScaler(device.type) if precision == 'fp16' else None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of the network's forward pass."""
        if self.precision == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, _HALF[self.precision])

    @property
    def scale(self) -> float:
        """What losses are multiplied with before their backward pass."""
        return 1.0 if self._scaler is None else float(self._scaler.get_scale())

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of the scaled loss to the parameters'."""
        scaled = loss if self._scaler is None else self._scaler.scale(loss)
        scaled.backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale."""
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Step with finite gradients; the scale may grow."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    def skip(self, overflow: bool) -> None:
        """Do without a step; after an overflow of fp16 the scale falls."""
        if self._scaler is not None:
            self._scaler.update(None if overflow else self.scale)

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue with the scale of a checkpoint."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)
