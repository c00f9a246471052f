"""Read files of ``torch.save`` as tensors and plain values, without executing any code in them."""

from __future__ import annotations

import pickle
import re
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr.utils.errors import UnsafeWeightsError, WeightsError

_MAPPINGS = (dict, OrderedDict, Counter)  # Counter: torch's MultiStepLR keeps its milestones in one
_SEQUENCES = (list, tuple, set, torch.Size)
PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, torch.dtype, torch.device)
"""Types allowed in network files and training states, besides tensors, numpy scalars and containers of these."""


def load_plain(path: Path) -> Any:
    """Read a file of ``torch.save`` that contains only tensors and plain values, without executing any code in it.

    ``PLAIN`` defines plain values, not the installed torch, whose list of safe classes grows.

    Raises:
        UnsafeWeightsError: the file contains other pickled objects.
        WeightsError: the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f'{path} ' + ('is a folder, not a network file' if path.is_dir() else 'does not exist'))
    try:
        path.open('rb').close()
    except OSError as error:
        raise WeightsError(f'{path} cannot be read ({error.strerror or error})') from error
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'(?:GLOBAL|class) ([\w.]*\w)', str(error))
        if found:
            raise _unsafe(path, found[1]) from error
        raise WeightsError(f'{path} is not a network file, or is damaged') from error
    except Exception as error:  # includes an OSError for truncated files
        raise WeightsError(f'{path} is not a network file, or is damaged ({type(error).__name__})') from error
    foreign = _foreign(content)
    if foreign is not None:
        raise _unsafe(path, f'{foreign.__module__}.{foreign.__qualname__}'.removeprefix('builtins.'))
    return content


def _unsafe(path: Path, name: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f'{path} was refused: it contains a pickled {name}, not only tensors and plain values, and unpickling '
        'it could run code. Ask its authors for a plain state dict.'
    )


def _foreign(content: Any) -> type | None:
    """Return the class of the first object that is not plain; None if all are."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind in _MAPPINGS or kind in _SEQUENCES:
            if id(value) not in seen:  # a list in a file may contain itself
                seen.add(id(value))
                waiting.extend([*value.keys(), *value.values()] if kind in _MAPPINGS else value)
        elif kind not in PLAIN and not isinstance(value, (Tensor, np.generic)):
            return kind
    return None


def _numpy_scalars() -> list[Any]:
    """Return the globals of pickled numpy numbers, which published files contain, for numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]  # rebuilds a number; its module depends on the version
    dtypes = [type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', '?')]
    names = ('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar')
    return [*((scalar, name) for name in names), np.dtype, *dtypes]
