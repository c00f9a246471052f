"""Training steps that run out of memory: find the batch size that fits."""

from __future__ import annotations

from typing import Any

import torch

from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.models.step_result import StepResult
from basicsr.training.stages import Stage
from basicsr.utils.device import free_memory, is_out_of_memory
from basicsr.utils.errors import TrainingError


def train_step_or_advise(model: ImageRestorationModel, batches: list[dict[str, Any]], stage: Stage) -> StepResult:
    """Run a training step; if it runs out of memory, find the batch size that fits.

    Args:
        model: the model; after an error, its gradients are lost.
        batches: of the step.
        stage: of the training.

    Raises:
        TrainingError: out of memory; the message contains the number of samples that fit and the options to set.
    """
    try:
        return model.train_step(*batches)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).split('\n')[0]
    # outside the handler, where the error no longer contains tensors
    fitting = batch_that_fits(model, batches[0])
    text = f'out of memory on {model.device}: a training step with {len(batches[0]["lq"])} samples at once ({reason}). '
    if not fitting:
        size = 'datasets.train.gt_size' if stage.gt_size is None else f'gt_size {stage.gt_size} of train.stages'
        text += f'Not even one sample fits: reduce {size}, or set train.precision: bf16'
    elif stage.gt_size is not None:
        text += (
            f'{fitting} fit: batch_size_per_gpu: {fitting} in the stage of train.stages with gt_size {stage.gt_size} '
            'trains the same, with gradient accumulation; continue with --auto_resume'
        )
    else:
        text += (
            f'{fitting} fit: --force_yml datasets:train:batch_size_per_gpu={fitting} '
            f'train:total_batch_size={stage.batching.total} trains the same, with gradient accumulation'
        )
    raise TrainingError(text)


def batch_that_fits(model: ImageRestorationModel, batch: dict[str, Any]) -> int:
    """Return how many samples of a batch fit in memory: half of them, a quarter, ... or 0."""
    count = len(batch['lq']) // 2
    while count and not _fits(model, {key: value[:count] for key, value in batch.items()}):
        count //= 2
    return count


def _fits(model: ImageRestorationModel, batch: dict[str, Any]) -> bool:
    """Run a forward and a backward pass next to the optimizer's state, which is simulated before the first step."""
    model.net.zero_grad()
    free_memory(model.device)
    try:
        weights = [] if model.optimizer.state else list(model.net.parameters())
        kept = [torch.zeros_like(weight) for weight in weights for _ in range(2)]
        model.arithmetic.backward(model.loss_of(batch, model.net)[0])
        del kept
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
