"""Network files in the safetensors format: numbers with a header of text, in which no code can hide."""

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
from basicsr.utils.files import whole_file

SUFFIX = '.safetensors'


def is_one(path: Path) -> bool:
    """Whether a file of this name is read and written in this format."""
    return path.suffix.lower() == SUFFIX


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Parameters by name, and the entries of the header that are JSON (the format allows any text there).

    Raises:
        WeightsError: missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f'{path} ' + ('is a folder, not a network file' if path.is_dir() else 'does not exist'))
    try:
        with safetensors.safe_open(path, framework='pt', device='cpu') as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
            header = dict(file.metadata() or {})
    except OSError as error:
        raise WeightsError(f'{path} cannot be read ({error.strerror or error})') from error
    except (safetensors.SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f'{path} is no file of safetensors, or it is damaged ({error})') from error
    return state, {key: _plain(value) for key, value in header.items()}


def write(path: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write parameters and, as JSON in the header, what there is to know about them; whole or not at all.

    Args:
        path: its folder must exist.
        state: parameters by name, in memory.
        about: plain values.

    Raises:
        WeightsError: a value that is not plain.
        OSError: the disk is full or the folder cannot be written.
    """
    try:
        header = {key: json.dumps(value) for key, value in about.items()}
    except TypeError as error:
        raise WeightsError(f'{path}: the header of {SUFFIX} files holds plain values only ({error})') from error
    # no two of its tensors may share memory, and each must be without gaps
    copies = {key: value.clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    data = save(copies, {'format': 'pt', **header})
    with whole_file(path) as file:
        file.write(data)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
