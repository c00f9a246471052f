"""Copy the next batch to the device while it works on the current one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from basicsr.data.loading import Batch, to_floats
from basicsr.utils.errors import ArgumentError


def prefetch(
    loader: Iterable[Batch],
    device: torch.device | str,
    mode: Literal['cpu', 'cuda'] | None = None,
    gray_masks: bool = False,
) -> Iterator[Batch]:
    """Yield the batches of a loader, on the device and as floats (see :func:`to_floats`), in the loader's order.

    Args:
        loader: of :func:`basicsr.data.build_dataloader`, or any other iterable of batches.
        device: target device.
        mode: 'cuda' copies ``lq``, ``gt`` and ``masks`` of the next batch on a side stream (without waiting, if batches
            are page-locked); an error of the loader is then raised one batch early. 'cpu' copies on demand, and worker
            processes of the loader prepare batches ahead. None is 'cuda' on a GPU, and else copies on demand.
        gray_masks: ``masks`` are gray images and become floats as well.

    Raises:
        ArgumentError: an unknown mode, or 'cuda' without a CUDA device.
    """
    device = torch.device(device)
    if mode not in (None, 'cpu', 'cuda'):
        raise ArgumentError(f'prefetch_mode must be null, cpu or cuda, got {mode!r}')
    if mode == 'cuda' and device.type != 'cuda':
        raise ArgumentError(f"prefetch_mode: cuda is for training on a GPU, this device is '{device}'; use null or cpu")
    if mode == 'cuda' or (mode is None and device.type == 'cuda'):
        return _one_ahead(iter(loader), device, gray_masks)
    return (to_floats(batch, device, gray_masks) for batch in loader)


def _one_ahead(batches: Iterator[Batch], device: torch.device, gray_masks: bool) -> Iterator[Batch]:
    """Copy on a separate stream; the current stream waits for it before a batch is used."""
    stream = torch.cuda.Stream(device) if device.type == 'cuda' else None

    def moved(batch: Batch | None) -> Batch | None:
        context: AbstractContextManager[Any] = nullcontext() if stream is None else torch.cuda.stream(stream)
        with context:
            return None if batch is None else to_floats(batch, device, gray_masks)

    coming = moved(next(batches, None))
    while coming is not None:
        batch = coming
        if stream is not None:
            current = torch.cuda.current_stream(device)
            current.wait_stream(stream)
            for value in batch.values():
                if isinstance(value, torch.Tensor) and value.is_cuda:
                    value.record_stream(current)  # its memory is not reused before this stream is done with it
        coming = moved(next(batches, None))
        yield batch
