"""Seeds, and the states of all random generators as one tensor for checkpoints."""

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
        deterministic: on GPUs, use deterministic algorithms (slower; operations without one are an error); otherwise
            the fastest algorithms.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - third-party code may draw from it
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
        # new memory is always written before it is read; filling it first would cost an operation each time
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(deterministic)


def derived_seed(seed: int, name: str) -> int:
    """Return a seed per name, 0 to 2^63 - 1, so that generated validation data differ from training data."""
    state = np.random.SeedSequence([seed, *name.encode()], spawn_key=(2,)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator_states(device: torch.device) -> Tensor:
    """Return the states of the generators of Python, NumPy and torch: int64, of fixed length.

    Args:
        device: of this process; for a GPU, its generator is included.
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
    """Restore the states of :func:`generator_states`.

    Args:
        states: of a process on any device; generators without a state are not changed.
        device: of this process.

    Raises:
        CheckpointError: they are from an incompatible version of torch.
    """
    sizes = [627, 624, 4, torch.get_rng_state().numel()]
    if device.type == 'cuda':
        sizes.append(torch.cuda.get_rng_state(device).numel())
    if states.dtype != torch.int64 or states.numel() < sum(sizes[:4]):
        raise CheckpointError('the random generator states are from an incompatible version of torch')
    if states.numel() < sum(sizes):  # of a process on the CPU
        sizes = sizes[:4]
    python, keys, rest, cpu, *gpu = states[: sum(sizes)].split(sizes)
    words = python.tolist()
    random.setstate((3, tuple(words[:625]), _float(words[625:])))
    position, has_gauss, *cached = rest.tolist()
    numpy_state = ('MT19937', keys.numpy().astype(np.uint32), position, has_gauss, _float(cached) or 0.0)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(cpu.to(torch.uint8))
    if gpu:
        torch.cuda.set_rng_state(gpu[0].to(torch.uint8), device)


def _bits(value: float | None) -> tuple[int, int]:
    """Return the bits of a float as int64, and 1; zeros for None."""
    return (0, 0) if value is None else (int(np.float64(value).view(np.int64)), 1)


def _float(bits: list[int]) -> float | None:
    return float(np.int64(bits[0]).view(np.float64)) if bits[1] else None
