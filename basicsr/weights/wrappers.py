"""Remove the wrappers of other tools from networks and from names of parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

_COUNTER = 'n_averaged'  # of AveragedModel, in addition to the parameters
_INNER = re.compile(r'(^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.')


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with the names of the network without wrappers: the same tensors in the same order.

    The prefix ``module.`` (DataParallel, DistributedDataParallel, AveragedModel with its ``n_averaged``) is removed if
    all names start with it; ``_orig_mod.`` (torch.compile), ``_fsdp_wrapped_module.`` and
    ``_checkpoint_wrapped_module.`` are removed everywhere.

    Args:
        state: tensors by name.

    >>> sorted(plain_names({'n_averaged': 1, 'module._orig_mod.intro.weight': 2}))
    ['intro.weight']
    """
    names = {key: _INNER.sub('', str(key)) for key in state}
    while True:
        inner = {key: name.removeprefix('module.') for key, name in names.items() if name != _COUNTER}
        if not inner or not all(name.startswith('module.') for name in names.values() if name != _COUNTER):
            break
        names = {key: _INNER.sub('', name) for key, name in inner.items()}
    if len(set(names.values())) < len(names):  # not the names of a wrapper
        return {str(key): value for key, value in state.items()}
    return {name: state[key] for key, name in names.items()}


def bare(net: nn.Module) -> nn.Module:
    """Return the network inside ``DataParallel``, ``DistributedDataParallel``, ``AveragedModel``, ``torch.compile``."""
    while True:
        if isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)):
            net = net.module
        elif '_orig_mod' in net._modules:
            net = net.get_submodule('_orig_mod')
        else:
            return net
