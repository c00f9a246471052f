"""Exponential moving average (EMA) of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network with averaged weights: average = decay · average + (1 - decay) · weights, after every step.

    Floating-point buffers are averaged as well, other buffers are copied.

    Args:
        net: the network; the average starts with its weights.
        decay: at least 0, below 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self.net = copy.deepcopy(net).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Update the average with the weights of ``net``."""
        averages, weights = _tensors(self.net), _tensors(net)
        floats = [index for index, tensor in enumerate(weights) if tensor.is_floating_point()]
        torch._foreach_lerp_([averages[i] for i in floats], [weights[i] for i in floats], 1 - self.decay)
        for average, weight in zip(averages, weights, strict=True):
            if not weight.is_floating_point():
                average.copy_(weight)


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*(parameter.detach() for parameter in net.parameters()), *net.buffers()]
