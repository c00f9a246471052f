"""Load samples in batches and move them to the device."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from basicsr.data.samplers import EnlargedSampler, EpochSampler
from basicsr.data.training_masks import drop_in_data
from basicsr.utils.device import signed, to_device
from basicsr.utils.errors import ShapeError
from basicsr.utils.loader_options import LoaderOptions

Batch = dict[str, Any]
_STOP_SIGNALS = {getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1') if hasattr(signal, name)}
_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}


def collate(items: Sequence[Mapping[str, Any]], mask_dropout: float | None = None) -> Batch:
    """Collate the items of a data set into a batch.

    Args:
        items: items of a data set, with the same keys and image size.
        mask_dropout: fraction of the masks to drop, for training (:func:`~basicsr.data.training_masks.drop_in_data`);
            None leaves the masks as they are.

    Returns:
        ``lq``, ``gt``: (B, C, H, W), uint8, or uint16 if one of them is; ``masks``: (B, L, H, W) label maps, layers
        padded with zeros, in the largest of their types; ``kernel``: (B, h, w) float32; ``mask_seed``: (B,) int64;
        paths: lists of B. With mask dropout, ``masks_dropped`` is a list of True.

    Raises:
        ShapeError: images of different sizes, or masks for some of them only.
        MaskError: with mask dropout, an id occurs in two layers.
    """
    keys = items[0].keys()
    if any(item.keys() != keys for item in items):
        raise ShapeError(f'{_names(items)}: some items have masks or ground truth and others do not')
    batch: Batch = {}
    for key in keys:
        values = [item[key] for item in items]
        if key in ('lq', 'gt'):
            batch[key] = _stack_images(values, items)
        elif key == 'masks':
            batch[key] = _stack_masks(values, items)
        elif key == 'kernel':
            batch[key] = torch.stack(values)
        else:
            batch[key] = torch.tensor(values, dtype=torch.int64) if key == 'mask_seed' else values
    if mask_dropout is not None and {'masks', 'mask_seed'} <= batch.keys():
        batch['masks'] = drop_in_data(batch['masks'], batch['mask_seed'], mask_dropout, batch['lq_path'])
        batch['masks_dropped'] = [True] * len(items)
    return batch


def to_floats(batch: Batch, device: torch.device | str, gray_masks: bool = False) -> Batch:
    """Move a batch to the device, where its images become floats in [0, 1].

    Args:
        batch: batch of :func:`collate`; left unchanged.
        device: target device. Page-locked batches are copied without waiting.
        gray_masks: ``masks`` are the gray images of the CAT method and become floats as well; label maps stay
            integers.

    Returns:
        the batch with ``lq``, ``gt`` and ``kernel`` (and gray ``masks``) in float32; ``mask_seed`` stays where it is.
    """
    moved = dict(batch)
    for key in ('lq', 'gt', 'masks', 'kernel'):
        if key in batch:
            tensor = to_device(batch[key], torch.device(device))
            moved[key] = _unit(tensor) if key != 'masks' or gray_masks else signed(tensor)
    return moved


def build_dataloader(
    dataset: Dataset[Any],
    opt: LoaderOptions | Mapping[str, Any] | None = None,
    phase: str | None = None,
    world: int = 1,
    rank: int = 0,
    seed: int = 0,
    samples_per_step: int | None = None,
    device: torch.device | None = None,
    mask_dropout: float | None = None,
) -> DataLoader[Any]:
    """Return a loader of batches as :func:`collate` makes them.

    Args:
        dataset: of :func:`basicsr.data.build_dataset`.
        opt: see :class:`~basicsr.utils.loader_options.LoaderOptions`; a mapping may have other keys as well, and its
            defaults are batches of 1 without workers.
        phase: 'train' shuffles and drops incomplete batches; the others go over the images in order, one at a time and
            without workers. The data set's own phase if None.
        world: number of processes.
        rank: number of this process.
        seed: of the order and of the workers.
        samples_per_step: training samples of this process in one step, if a step has several batches.
        device: where the batches go; ``pin_memory`` is ignored on the CPU. None means a GPU if there is one.
        mask_dropout: see :func:`collate`; used in training only.

    Returns:
        the loader; call ``loader.sampler.set_epoch`` and ``dataset.set_epoch`` before each pass in training.
    """
    phase = phase or getattr(dataset, 'phase', 'test')
    length = len(dataset)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)  # the loader draws from it, not from the one of dropout
    for_gpu = torch.cuda.is_available() if device is None else device.type == 'cuda'
    options = LoaderOptions.of(opt)
    pin_memory = for_gpu and options.pin_memory is not False
    if phase != 'train':
        order: Any = range(rank, length, world)
        return DataLoader(
            dataset, batch_size=1, sampler=order, collate_fn=collate, pin_memory=pin_memory, generator=generator
        )
    batch_size, ratio = options.batch_size_per_gpu, options.dataset_enlarge_ratio
    workers = options.num_worker_per_gpu or int(options.prefetch_mode == 'cpu')
    ahead = options.num_prefetch_queue if options.prefetch_mode == 'cpu' else 1
    sampler: Sampler[int] = EpochSampler(length, samples_per_step or batch_size, world, rank, ratio, seed)
    if options.sampler == 'reference':
        sampler = EnlargedSampler(length, world, rank, ratio)
    return _WorkerLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        prefetch_factor=max(2, math.ceil(ahead / workers)) if workers else None,  # 2 is the default of torch
        collate_fn=partial(collate, mask_dropout=mask_dropout),
        drop_last=True,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        multiprocessing_context='fork' if workers and sys.platform == 'linux' else None,  # not Python's, which changes
        worker_init_fn=partial(start_worker, first_seed=workers * rank + seed, trainer=os.getpid()),
        generator=generator,
    )


class _WorkerLoader(DataLoader[Any]):
    """Loader that starts its workers with signals blocked; :func:`start_worker` handles them."""

    def __iter__(self) -> Any:
        if not hasattr(signal, 'pthread_sigmask'):
            return super().__iter__()
        resource_tracker.ensure_running()  # whose start would let SIGTERM and SIGINT through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # a new process inherits it
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(worker: int, first_seed: int, trainer: int | None = None) -> None:
    """Seed numpy and ``random`` of a worker process as the original does, and keep it to one thread.

    Stop signals reach all processes of a training at once; the workers ignore them, because the last step needs their
    data.

    Args:
        worker: its number.
        first_seed: of the first worker.
        trainer: process that may end this one; its parent if None. (They differ where a server forks the workers.)
    """
    if torch.utils.data.get_worker_info() is not None:
        _heed_one_alone(os.getppid() if trainer is None else trainer)
    np.random.seed((first_seed + worker) % 2**32)  # noqa: NPY002 - third-party code may draw from it
    random.seed(first_seed + worker)
    cv2.setNumThreads(0)


def _heed_one_alone(trainer: int) -> None:
    """Accept SIGTERM only from that process, which ends remaining workers with it. Exit when the parent has exited.

    torch looks for the parent as well, but only once the worker is ready: one that starts while its parent dies stayed.
    """
    if not hasattr(signal, 'sigtimedwait'):  # who sent a signal cannot be known: keep to what ends workers
        for number in _STOP_SIGNALS - {signal.SIGTERM}:
            signal.signal(number, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)  # for all threads but the one that waits
    parent = multiprocessing.parent_process()

    def wait() -> None:
        while parent is None or parent.is_alive():
            received = signal.sigtimedwait(_STOP_SIGNALS, 2)
            if received is not None and received.si_signo == signal.SIGTERM and received.si_pid == trainer:
                break
        os._exit(0)

    threading.Thread(target=wait, name='signals', daemon=True).start()


def _stack_images(images: list[torch.Tensor], items: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    if len({image.shape for image in images}) > 1:
        shapes = ', '.join(str(tuple(image.shape)) for image in images)
        raise ShapeError(
            f'{_names(items)}: images of a batch must have the same size, got {shapes}; load one at a time'
        )
    if len({image.dtype for image in images}) > 1:  # 8 and 16 bits: v / 255 = 257 v / 65535
        images = [i if i.dtype == torch.uint16 else (i.int() * 257).to(torch.uint16) for i in images]
    return torch.stack(images)


def _stack_masks(masks: list[torch.Tensor], items: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    if len({labels.shape[1:] for labels in masks}) > 1:
        raise ShapeError(f'{_names(items)}: masks of a batch must have the same size')
    layers, *size = max(labels.shape for labels in masks)
    dtype = max((labels.dtype for labels in masks), key=lambda kind: kind.itemsize)
    stacked = torch.zeros(len(masks), layers, *size, dtype=dtype)
    for target, labels in zip(stacked, masks, strict=True):
        target[: len(labels)] = labels
    return stacked


def _names(items: Sequence[Mapping[str, Any]]) -> str:
    return ', '.join(str(item.get('lq_path', '?')) for item in items)


def _unit(tensor: torch.Tensor) -> torch.Tensor:
    white = _WHITE.get(tensor.dtype)
    return tensor if white is None else signed(tensor).float() / white
