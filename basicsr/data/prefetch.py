"""Copy batches to the device while it works on the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

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
        mode: 'cuda' copies batches on a side stream (without waiting, if they are page-locked): ask for the next batch
            when a step has been issued, and it is copied while the GPU works. 'cpu' copies on the stream of the step.
            None is 'cuda' on a GPU, and else 'cpu'.
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
        return _on_side_stream(loader, device, gray_masks)
    return (to_floats(batch, device, gray_masks) for batch in loader)


def _on_side_stream(batches: Iterable[Batch], device: torch.device, gray_masks: bool) -> Iterator[Batch]:
    """Copy on a separate stream while the current stream still works on the batch before, which then waits for it."""
    stream = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = to_floats(batch, device, gray_masks)
        current = torch.cuda.current_stream(device)
        current.wait_stream(stream)
        for value in moved.values():
            if isinstance(value, torch.Tensor) and value.is_cuda:
                value.record_stream(current)  # its memory is not reused before this stream is done with it
        yield moved
