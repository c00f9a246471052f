"""What a network says of itself to those who call it."""

from __future__ import annotations

import inspect
from typing import Any, Literal

from torch import Tensor, nn

Prior = Literal['none', 'gray', 'regions']


def restored(output: Any) -> Tensor:
    """The restored image of what a network returns: the tensor itself, or the last of several."""
    result: Tensor = output if isinstance(output, Tensor) else output[-1]
    return result


def prior_of(net: nn.Module) -> Prior:
    """Which masks a network takes: a second argument ``masks``, a gray picture as one more channel, or none."""
    if 'masks' in inspect.signature(net.forward).parameters:
        return 'regions'
    extra = getattr(net, 'in_channels', 0) - getattr(net, 'img_channel', 0)
    return 'gray' if extra == 1 and getattr(net, 'options', {}).get('mask') else 'none'
