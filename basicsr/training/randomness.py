"""Seeds, and the states of all generators as one tensor that a checkpoint can hold."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
from torch import Tensor

from basicsr.utils.errors import CheckpointError


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed Python's, numpy's and torch's generators.

    Args:
        seed: at least 0.
        deterministic: on GPUs, use algorithms that give the same bits every time (slower; an operation that has none
            is an error); otherwise the fastest ones for the sizes at hand.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - third-party code may draw from it
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
    torch.use_deterministic_algorithms(deterministic)


def derived_seed(seed: int, name: str) -> int:
    """Another seed for each name, so that generated validation data never repeat training data. 0 to 2^63 - 1."""
    state = np.random.SeedSequence([seed, *name.encode()], spawn_key=(2,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator_states(device: torch.device) -> Tensor:
    """The states of the generators of Python, numpy and torch: int64, always of one length.

    Args:
        device: where this process computes; the generator of a GPU is one of them. Other GPUs are not touched.
    """
    _, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    parts = [
        torch.tensor([*words, *_bits(gauss)], dtype=torch.int64),
        torch.from_numpy(np.asarray(keys).astype(np.int64)),
        torch.tensor([int(position), int(has_gauss), *_bits(float(cached))], dtype=torch.int64),
        torch.get_rng_state().to(torch.int64),
    ]
    if device.type == 'cuda':
        parts.append(torch.cuda.get_rng_state(device).to(torch.int64))
    return torch.cat(parts)


def restore_generators(states: Tensor, device: torch.device) -> None:
    """Set the generators to what :func:`generator_states` returned.

    Args:
        states: of a process on a device of any kind; what they lack stays as it is.
        device: where this process computes.

    Raises:
        CheckpointError: they are of another kind of machine.
    """
    sizes = [627, 624, 4, torch.get_rng_state().numel()]
    if device.type == 'cuda':
        sizes.append(torch.cuda.get_rng_state(device).numel())
    if states.dtype != torch.int64 or states.numel() < sum(sizes[:4]):
        raise CheckpointError('the states of the random generators are of another version of torch')
    python, keys, rest, cpu, *gpu = (
        states[: sum(sizes)].split(sizes)
        if states.numel() >= sum(sizes)
        else (states[: sum(sizes[:4])].split(sizes[:4]))
    )
    words = python.tolist()
    random.setstate((3, tuple(words[:625]), _float(words[625:])))
    position, has_gauss, *cached = rest.tolist()
    numpy_state = ('MT19937', keys.numpy().astype(np.uint32), position, has_gauss, _float(cached) or 0.0)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(cpu.to(torch.uint8))
    if gpu:
        torch.cuda.set_rng_state(gpu[0].to(torch.uint8), device)


def _bits(value: float | None) -> tuple[int, int]:
    """A float's bits as an int64, and whether there is one."""
    return (0, 0) if value is None else (int(np.float64(value).view(np.int64)), 1)


def _float(bits: list[int]) -> float | None:
    return float(np.int64(bits[0]).view(np.float64)) if bits[1] else None
