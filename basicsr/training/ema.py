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
        pairs = list(zip(_tensors(self.net), _tensors(net), strict=True))  # walking the network takes milliseconds
        self._floats = [pair for pair in pairs if pair[1].is_floating_point()]
        self._others = [pair for pair in pairs if not pair[1].is_floating_point()]

    @torch.no_grad()
    def update(self, skip: Tensor | None = None) -> None:
        """Update the average with the weights of the network.

        Args:
            skip: a scalar on the device; if it is 1, nothing changes. The host does not wait for it.
        """
        averages, weights = ([pair[side] for pair in self._floats] for side in (0, 1))
        if skip is None:
            torch._foreach_lerp_(averages, weights, 1 - self.decay)
        else:
            steps = torch._foreach_sub(weights, averages)
            torch._foreach_mul_(steps, (1 - self.decay) * (1 - skip.to(averages[0].dtype)))
            torch._foreach_add_(averages, steps)
        for average, weight in self._others:
            average.copy_(weight if skip is None else torch.where(skip > 0, average, weight))


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]
