"""What to do about a training step that the memory cannot hold: the number of samples that it can hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from basicsr.training.batching import Batching
from basicsr.utils.device import free_memory, is_out_of_memory
from basicsr.utils.errors import TrainingError


def step_that_fits(model: Any, batches: list[dict[str, Any]], batching: Batching) -> dict[str, float]:
    """A training step; the losses of this process.

    Args:
        model: an ``ImageRestorationModel``.
        batches: of the step.
        batching: how its samples are shared.

    Raises:
        TrainingError: there is no memory for it; the message says how many samples fit.
    """
    try:
        losses: dict[str, float] = model.train_step(*batches)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).split('\n')[0]
    else:
        return losses
    raise too_large(model, batches[0], batching, reason)  # out here, where the error no longer holds tensors


def too_large(model: Any, batch: dict[str, Any], batching: Batching, reason: str) -> TrainingError:
    """The error about a step that ran out of memory, with the batch that would fit: it is tried out.

    Args:
        model: an ``ImageRestorationModel``; its gradients are lost.
        batch: one of the step's.
        batching: how the step's samples are shared.
        reason: what the device says.
    """
    count = len(batch['lq'])
    fitting = batch_that_fits(model, batch)
    text = f'no memory left on {model.device} for a training step with {count} samples at once ({reason}). '
    if not fitting:
        text += 'Not even one sample fits: set datasets.train.gt_size lower, or train.precision: bf16'
    else:
        text += (
            f'{fitting} fit: --force_yml datasets:train:batch_size_per_gpu={fitting} '
            f'train:total_batch_size={batching.total} trains the same, with gradients of several batches added up'
        )
    return TrainingError(text)


def batch_that_fits(model: Any, batch: dict[str, Any]) -> int:
    """Samples of a batch whose step the memory can hold: half of them, a quarter, ... or 0."""
    count = len(batch['lq']) // 2
    while count and not _fits(model, {key: value[:count] for key, value in batch.items()}):
        count //= 2
    return count


def _fits(model: Any, batch: dict[str, Any]) -> bool:
    """Whether forward and backward pass find room, beside what the optimizer keeps from its first step on."""
    model.net.zero_grad()
    free_memory(model.device)
    try:
        kept: list[Tensor] = []
        if not model.optimizer.state:
            kept = [torch.zeros_like(weight) for weight in model.net.parameters() for _ in range(2)]
        model.arithmetic.backward(model.loss_of(batch, model.net)[0])
        del kept
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
