"""Network files in the safetensors format, which cannot contain code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from basicsr.utils.errors import WeightsError
from basicsr.utils.files import write_whole

SUFFIX = '.safetensors'


def is_one(path: Path) -> bool:
    """Return whether a file name has the suffix of this format."""
    return path.suffix.lower() == SUFFIX


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read parameters by name, and the entries of the header, parsed as JSON if possible.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f'{path} ' + ('is a folder, not a network file' if path.is_dir() else 'does not exist'))
    try:
        with safetensors.safe_open(path, framework='pt', device='cpu') as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
            header = dict(file.metadata() or {})
    except OSError as error:
        raise WeightsError(f'{path} cannot be read ({error.strerror or error})') from error
    except Exception as error:
        raise WeightsError(f'{path} is not a safetensors file, or is damaged ({error})') from error
    return state, {key: _plain(value) for key, value in header.items()}


def write(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write parameters, and other entries as JSON in the header, complete or not at all.

    Args:
        path: its folder must exist.
        state: parameters by name.
        about: other entries, as plain values.

    Raises:
        WeightsError: an entry is not a plain value.
        OSError: the disk is full or the folder cannot be written.
    """
    try:
        header = {key: json.dumps(value) for key, value in about.items()}
    except TypeError as error:
        raise WeightsError(f'{path}: the header of {SUFFIX} files can contain only plain values ({error})') from error
    # the tensors must be contiguous and must not share memory
    copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    data = save(copies, {'format': 'pt', **header})
    write_whole(path, data)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
