"""Read files of ``torch.save`` as tensors and plain values, without executing any code in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
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
_REPEATED = 2**20  # elements of a tensor that repeats those of its storage
_DEEPEST = 100  # containers inside each other


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
    _check_archive(path)
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
    for value in _values_in(content, path):
        kind = type(value)
        if isinstance(value, Tensor):
            if value.layout == torch.strided and value.nelement() > max(_REPEATED, value.untyped_storage().nbytes()):
                raise WeightsError(f'{path} is damaged: it has too few numbers for a tensor {tuple(value.shape)}')
        elif kind not in PLAIN and not isinstance(value, np.generic):
            raise _unsafe(path, f'{kind.__module__}.{kind.__qualname__}'.removeprefix('builtins.'))
    return content


def _check_archive(path: Path) -> None:
    """Refuse archives that torch does not write: it compresses no entries, so that none are larger than the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception:  # noqa: BLE001 - an older format, or damaged, which zipfile reports with errors of many types
        return
    total = sum(entry.file_size for entry in entries)
    if total > path.stat().st_size:
        raise WeightsError(f'{path} is not a network file: its {path.stat().st_size} bytes become {total}')
    outside = [entry.filename for entry in entries if entry.filename[:1] == '/' or '..' in entry.filename.split('/')]
    if outside:
        raise WeightsError(f'{path} is not a network file: it contains a file outside of its folder: {outside[0]!r}')


def _unsafe(path: Path, name: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f'{path} was refused: it contains a pickled {name}, not only tensors and plain values, and unpickling '
        'it could run code. Ask its authors for a plain state dict.'
    )


def _values_in(content: Any, path: Path) -> Iterator[Any]:
    """Yield everything in nested containers that is not a container; refuse those that code could not walk through."""
    level, seen = [content], set()
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for value in level:
            kind = type(value)
            if kind not in _MAPPINGS and kind not in _SEQUENCES:
                yield value
            elif id(value) not in seen:  # a list in a file may contain itself
                seen.add(id(value))
                below.extend([*value.keys(), *value.values()] if kind in _MAPPINGS else value)
        if not below:
            return
        level = below
    raise WeightsError(f'{path} is not a network file: its lists and dictionaries are nested more than {_DEEPEST} deep')


def _numpy_scalars() -> list[Any]:
    """Return the globals of pickled numpy numbers, which published files contain, for numpy 1 and 2."""
    scalar = np.float64(0).__reduce__()[0]  # rebuilds a number; its module depends on the version
    dtypes = [type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', '?')]
    names = ('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar')
    return [*((scalar, name) for name in names), np.dtype, *dtypes]
