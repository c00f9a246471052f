"""Find where the host would wait for a GPU: reads of values, and copies that block."""

from __future__ import annotations

import copy
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.project import ROOT

# ``numpy`` is no read: tensors of a GPU do not have it
_READS = {
    'item', 'tolist', 'cpu', 'nonzero', 'argwhere', 'unique', 'masked_select',
    '__bool__', '__int__', '__float__', '__index__', '__contains__',
}  # fmt: skip
_READING_OPERATORS = {'_local_scalar_dense', 'nonzero', '_unique2', 'masked_select', 'equal', 'is_nonzero'}


class _Operators(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        if name in _READING_OPERATORS:
            self.found[f'{name} at {_place()}'] += 1
        return func(*args, **(kwargs or {}))


class HostWaits(TorchFunctionMode):
    """Count the calls that would make the host wait for a GPU, by name and place; an operator inside one counts too.

    Reads inside torch itself do not count: on the CPU, its optimizers read their step counters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self._operators = _Operators(self.found)

    def __enter__(self) -> HostWaits:
        super().__enter__()
        self._operators.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._operators.__exit__(*error)
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, '__name__', '')
        if name in _READS:
            self.found[f'{name} at {_place()}'] += 1
        return func(*args, **(kwargs or {}))

    @property
    def count(self) -> int:
        """Number of reads."""
        return sum(self.found.values())


class BlockingCopies(TorchDispatchMode):
    """Collect the copies between devices that make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._overloadpacket.__name__
        if name == '_to_copy':
            device = kwargs.get('device')
            moved = device is not None and torch.device(device).type != args[0].device.type
            if moved and not kwargs.get('non_blocking'):
                self.found.append(f'{args[0].device} to {device} at {_place()}')
        elif name == 'copy_':
            moved = args[0].device.type != args[1].device.type
            if moved and not (kwargs.get('non_blocking') or (len(args) > 2 and args[2])):
                self.found.append(f'{args[1].device} to {args[0].device} at {_place()}')
        return func(*args, **kwargs)


def _place() -> str:
    """Return the innermost line of this project."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if any(path.is_relative_to(ROOT / part) for part in ('basicsr', 'benchmarks')):
            return f'{path.relative_to(ROOT)}:{frame.lineno}'
    return 'torch'


def on_fake_gpu(net: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Return a copy of a network whose parameters are tensors without data, on a GPU that need not exist."""
    net = copy.deepcopy(net)

    def empty(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device='cuda')

    with mode:
        for module in net.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(empty(parameter))
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = empty(buffer)
    return net
