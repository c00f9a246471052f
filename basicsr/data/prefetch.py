"""The next batch, prepared while the device works on this one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch

from basicsr.data.loading import Batch, to_floats
from basicsr.utils.errors import ArgumentError

PrefetchMode = Literal['cpu', 'cuda']
_PATIENCE = 0.1  # seconds between two looks whether the other side is still there


def prefetch(
    loader: Iterable[Batch],
    device: torch.device | str,
    mode: PrefetchMode | None = None,
    ahead: int = 1,
    gray_masks: bool = False,
) -> Iterator[Batch]:
    """The batches of a loader, on the device and as floats (see :func:`to_floats`), in the loader's order.

    What goes wrong in the loader (a worker met a broken file) is raised as soon as it is known, also while batches
    before it are still waiting to be used.

    Args:
        loader: of :func:`basicsr.data.build_dataloader`, or anything else that gives batches.
        device: where to.
        mode: None reads when asked; 'cpu' reads in a thread; 'cuda' copies ``lq``, ``gt`` and ``masks`` of the next
            batch on a side stream (with page-locked batches, without waiting).
        ahead: batches that 'cpu' keeps ready.
        gray_masks: ``masks`` are gray pictures and become floats as well.

    Raises:
        ArgumentError: an unknown mode, or 'cuda' without a CUDA device.
    """
    device = torch.device(device)
    if mode not in (None, 'cpu', 'cuda') or ahead < 1:
        raise ArgumentError(
            f'prefetch_mode is null, cpu or cuda, with at least 1 batch ahead, got {mode!r} and {ahead}'
        )
    if mode == 'cuda' and device.type != 'cuda':
        raise ArgumentError(f"prefetch_mode: cuda is for training on a GPU, this device is '{device}'; use null or cpu")
    if mode == 'cuda':
        return _one_ahead(iter(loader), device, gray_masks)
    batches = _in_thread(loader, ahead) if mode == 'cpu' else iter(loader)
    return (to_floats(batch, device, gray_masks) for batch in batches)


def _one_ahead(batches: Iterator[Batch], device: torch.device, gray_masks: bool) -> Iterator[Batch]:
    """Copies run on a stream of their own; the current stream waits for them before a batch is used."""
    stream = torch.cuda.Stream(device) if device.type == 'cuda' else None

    def moved(batch: Batch) -> Batch:
        context: AbstractContextManager[Any] = nullcontext() if stream is None else torch.cuda.stream(stream)
        with context:
            return to_floats(batch, device, gray_masks)

    first = next(batches, None)
    coming = None if first is None else moved(first)
    while coming is not None:
        batch = coming
        if stream is not None:
            current = torch.cuda.current_stream(device)
            current.wait_stream(stream)
            for value in batch.values():
                if isinstance(value, torch.Tensor) and value.is_cuda:
                    value.record_stream(current)  # its memory is not reused before this stream is done with it
        following = next(batches, None)  # an error of the loader comes up here, one step early
        coming = None if following is None else moved(following)
        yield batch


def _in_thread(loader: Iterable[Batch], ahead: int) -> Iterator[Batch]:
    ready: queue.Queue[Batch | None] = queue.Queue(ahead)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def put(batch: Batch | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(batch, timeout=_PATIENCE)
            except queue.Full:
                continue
            return

    def read() -> None:
        try:
            for batch in loader:
                put(batch)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread has to hear of it
            failures.append(error)
        put(None)

    thread = threading.Thread(target=read, name='prefetch', daemon=True)
    thread.start()
    try:
        while True:
            if failures:
                raise failures[0]
            try:
                batch = ready.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if failures:
                raise failures[0]
            if batch is None:
                return
            yield batch
    finally:
        stopped.set()
        thread.join()
