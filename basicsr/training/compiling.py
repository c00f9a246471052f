"""``train.compile``: compile the network once for each size of its inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from basicsr.options.schema_train import TrainOptions

_SPARE = 4  # more compilations: the batch that measures the precision, a second dtype


def compiled(net: nn.Module, train: TrainOptions) -> nn.Module:
    """Return the network with a compiled forward pass.

    Args:
        net: or its wrapper; its weights are shared.
        train: ``stages`` tells how many input sizes there will be. PyTorch stops compiling after 8 without this.
    """
    import torch._dynamo.config as limits

    limits.recompile_limit = max(limits.recompile_limit, len(train.stages or ()) + _SPARE)
    result: Any = torch.compile(net, dynamic=False)  # sizes are few
    return result  # type: ignore[no-any-return]
