"""ImageRestorationModel: one training step, and one restoration of a batch."""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.archs import build_network
from basicsr.archs.activation_checkpointing import checkpoint_activations
from basicsr.archs.contract import contract_of
from basicsr.archs.mask_dropout import DROPPED
from basicsr.inference.restoring import Restored, restore_image
from basicsr.inference.tiling import Grid
from basicsr.models.misfit import load_or_explain
from basicsr.models.objective import Objective
from basicsr.models.step_result import StepResult
from basicsr.options import Options
from basicsr.options.schema_train import TrainOptions, ValOptions
from basicsr.training.auto_precision import measured_precision
from basicsr.training.checkpoints import Checkpoint
from basicsr.training.compiling import compiled
from basicsr.training.distributed import Processes
from basicsr.training.ema import MovingAverage
from basicsr.training.optimizers import build_optimizer
from basicsr.training.precision import Arithmetic, Precision, autocast, memory_format_of, step_unless
from basicsr.training.resuming import continue_anew, continue_exactly
from basicsr.training.scheduling import advance, build_scheduler
from basicsr.utils.device import require_bfloat16, set_memory_format, tf32
from basicsr.utils.errors import CheckpointError
from basicsr.utils.registry import MODEL_REGISTRY
from basicsr.weights.files import Weights, load_weights, read_weights

logger = logging.getLogger(__name__)

Batch = Mapping[str, Any]


@MODEL_REGISTRY.register()
class ImageRestorationModel:
    """A network with, for training, its losses, optimizer, schedule and EMA.

    Args:
        options: of an option file.
        processes: this process among those of the job; the network is on its device.
        dtype: of weights and images; use float64 for tests only.

    Raises:
        OptionError: the device does not support the recipe.
        WeightsError: the weights under ``path.pretrain_network_g`` do not fit.
    """

    def __init__(
        self, options: Options, processes: Processes | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.processes = processes or Processes()
        self.device, self.dtype = self.processes.device, dtype
        self.net = build_network(options.network_g)
        self.contract = contract_of(self.net)
        self.prior = self.contract.prior_kind
        if options.path.pretrain_network_g is not None:
            weights = read_weights(options.path.pretrain_network_g, options.path.param_key)
            unstated = 'mask_value' not in options.network_g.arguments  # then the file contains it
            load_or_explain(self.net, weights, options.path.strict_load_g, unstated, options.train is None)
            if weights.average and options.train is None:
                text = '%s: not using its EMA weights; to use them: --force_yml path:param_key=params_ema'
                logger.warning(text, weights.path)
        train = options.train
        if options.val.precision == 'bf16':
            require_bfloat16(self.device, 'val.precision', "'fp32'")
        self._memory_format = memory_format_of(options, self.device)
        set_memory_format(self.net.to(self.device, dtype), self._memory_format)
        self.ema: MovingAverage | None = None
        self.needs_kernels = self._is_given_kernels = False
        self.iteration = 0
        if train is not None:
            self._prepare_training(train, options.find_unused_parameters)

    def _prepare_training(self, train: TrainOptions, find_unused_parameters: bool) -> None:
        self.recipe = train
        if train.activation_checkpointing:
            checkpoint_activations(self.net)
        self.objective = Objective(train, self.net, self.device, self.dtype)
        self.needs_kernels, self._is_given_kernels = self.objective.needs_kernels, train.true_kernels
        self._forward: nn.Module = self.net
        if self.processes.world > 1:  # copies the weights of the first process to all
            averaging = any(buffer.is_floating_point() for buffer in self.net.buffers())  # batch normalization
            self._forward = DistributedDataParallel(
                self.net,
                broadcast_buffers=averaging,  # other buffers never change
                process_group=self.processes.gradients,
                gradient_as_bucket_view=True,
                find_unused_parameters=find_unused_parameters,
            )
        if train.compile:
            self._forward = compiled(self._forward, train)
        self.optimizer = build_optimizer(self.net, train.optim_g, fuse=True)
        self.scheduler = build_scheduler(self.optimizer, train.scheduler, train.total_iter)
        self.arithmetic = Arithmetic('fp32' if train.precision == 'auto' else train.precision, self.device)
        self.chooses_precision = train.precision == 'auto'
        if train.ema_decay:
            self.ema = MovingAverage(self.net, train.ema_decay)
        self.bad_steps = self.steps_taken = 0
        self._parameters = list(self.net.parameters())
        self._unread: deque[StepResult] = deque()

    @property
    def result_net(self) -> nn.Module:
        """The network for validation and results: the EMA network if used."""
        return self.net if self.ema is None else self.ema.net

    def train_step(self, *batches: Batch) -> StepResult:
        """Run one optimizer step, without waiting for a GPU.

        If a loss or gradient is not finite in any process, all processes skip the step; ``bad_steps`` counts such
        steps in a row, without overflows of fp16. On GPUs, it is known one step late; :meth:`settle` waits for it.

        Args:
            batches: one, or several whose gradients are accumulated: ``lq``, ``gt`` (B, C, H, W) floats in [0, 1] on
                the device, and for networks that take masks ``masks``, with ``mask_seed``, or ``masks_dropped`` if
                the loader has dropped some; for ``kernel_opt`` and ``true_kernels`` ``kernel``, (B, h, w) floats.
        """
        self.iteration += 1
        advance(self.optimizer, self.scheduler, self.iteration, self.recipe.warmup_iter)
        if not self.net.training:
            self.net.train()
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        keep_gradients = getattr(self._forward, 'no_sync', contextlib.nullcontext)
        for number, batch in enumerate(batches, 1):
            # until the last batch, gradients stay in this process
            with (
                keep_gradients() if number < len(batches) else contextlib.nullcontext(),
                tf32(self.recipe.tf32),
            ):
                loss, terms = self.loss_of(batch, self._forward)
                self.arithmetic.backward(loss / len(batches))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / len(batches)
        result = self._finish_step(sums, [path for batch in batches for path in batch.get('lq_path', ())])
        self._unread.append(result)
        while len(self._unread) > (self.device.type == 'cuda'):
            self._unread.popleft().settle()
        return result

    def choose_precision(self, batch: Batch) -> None:
        """Measure whether bf16 makes steps faster, for ``train.precision: auto``; the first process decides for all.

        Args:
            batch: as for :meth:`train_step`.
        """
        self.net.train()
        precision: Precision = 'fp32'
        if self.processes.is_first and self.contract.bf16_safe:
            net = self._forward if self.processes.world == 1 else self.net
            if self.recipe.compile and self.processes.world > 1:  # alone, this process cannot exchange gradients
                net = compiled(self.net, self.recipe)
            with tf32(self.recipe.tf32):
                precision = measured_precision(self.net, lambda: self.loss_of(batch, net)[0], self.device)
        choices: tuple[Precision, ...] = 'fp32', 'bf16'
        precision = choices[self.processes.from_first(choices.index(precision))]
        self.arithmetic, self.chooses_precision = Arithmetic(precision, self.device), False

    def settle(self) -> None:
        """Wait for the numbers of all steps, so that ``bad_steps`` and ``steps_taken`` are up to date."""
        while self._unread:
            self._unread.popleft().settle()

    def loss_of(self, batch: Batch, net: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch and its terms.

        Args:
            batch: as for :meth:`train_step`.
            net: the network, or its wrapper.

        Returns:
            the total loss, a scalar; and all losses of the recipe by name, with the terms of summed losses.

        Raises:
            ShapeError: the last output has a different shape than the ground truth.
        """
        with self.arithmetic.autocast():
            outputs = net(*self.inputs(batch), *self.objective.arguments(batch))
        return self.objective.loss_of(outputs, batch)

    @torch.no_grad()
    def _finish_step(self, losses: dict[str, Tensor], files: Sequence[str]) -> StepResult:
        """Clip the gradient, and update the weights if all numbers are finite, which is decided on the device."""
        self.arithmetic.unscale([parameter.grad for parameter in self._parameters if parameter.grad is not None])
        values = torch.stack([*losses.values(), self._clip_gradient()])
        bad = torch.stack([~values[:-1].isfinite().all(), ~values[-1].isfinite()])
        bad_loss, bad_gradient = self.processes.any_on_device(bad)
        skip = (bad_loss | bad_gradient).float()
        step_unless(skip, self.optimizer)
        if self.ema is not None:
            self.ema.update(skip)
        overflow = self.arithmetic.update(bad_loss, bad_gradient)
        scale = self.arithmetic.scale if self.arithmetic.scales_losses else torch.ones_like(skip)
        facts = torch.stack([skip, bad_loss.float(), overflow.float(), scale])
        names, step = list(losses), self.iteration

        def explain(numbers: Sequence[float]) -> str | None:
            problem = self._count(names, numbers, files)
            if problem is not None:
                logger.warning('step %d skipped: %s', step, problem)
            return problem

        lr = float(self.optimizer.param_groups[0]['lr'])
        return StepResult(names, torch.cat([values, facts.to(values.dtype)]), lr, explain)

    def _clip_gradient(self) -> Tensor:
        """Clip the gradient if the recipe requires it; return its norm before that."""
        parameters = [parameter for parameter in self._parameters if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.recipe.use_grad_clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.grad_clip_norm, norm)
        return norm.to(self.device)

    def _count(self, names: Sequence[str], numbers: Sequence[float], files: Sequence[str]) -> str | None:
        """Count a finished step; return why it was skipped, if it was."""
        skipped, bad_loss, overflow, scale = numbers[-4:]
        if not skipped:
            self.bad_steps = 0
            self.steps_taken += 1
            return None
        if overflow:  # fp16 has too small a range for this loss scale
            return f'fp16 overflowed; reduced the loss scale to {scale:g}'
        self.bad_steps += 1
        wrong = [name for name, value in zip(names, numbers, strict=False) if not math.isfinite(value)]
        own = f'{", ".join(wrong) or "the gradient"} not finite, images: {", ".join(files)}'
        texts = self.processes.gather_text(own if wrong or not bad_loss else '')
        return '; '.join(text for text in texts if text)

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """Return the network's arguments: the image, possibly with a gray mask as fourth channel, and region masks."""
        lq = batch['lq'].to(self.dtype)
        if self.prior == 'gray':
            lq = torch.cat([lq, batch['masks'].to(self.dtype)], 1)
        lq = lq.contiguous(memory_format=self._memory_format)
        if self.prior != 'regions':
            return (lq,)
        if self.net.training and self.contract.takes_seeds:
            return lq, batch['masks'], DROPPED if batch.get('masks_dropped') else batch.get('mask_seed')
        return lq, batch['masks']

    def restore(self, batch: Batch, options: ValOptions | None = None) -> Restored:
        """Restore a batch without dropout, with the EMA weights if used.

        Args:
            batch: as for :meth:`train_step`, without ``gt``; any image size. With ``train.true_kernels``, a ``kernel``
                in it is used instead of an estimated one.
            options: tiling of large images (batches of one image only), and precision; None disables tiling.

        Returns:
            the last output, (B, C, H, W) float on the device, nominally in [0, 1], not clamped.
        """
        net: Any = self.result_net
        was_training = net.training
        net.eval()
        lq, *masks = self.inputs(batch)
        known = net.with_kernel(batch['kernel'].to(self.dtype)) if self._is_given_kernels and 'kernel' in batch else net
        grid = None if options is None else grid_of(options, *lq.shape[-2:])
        tile = None if options is None else options.tile
        with autocast('fp32' if options is None else options.precision, self.device):
            done = restore_image(known, lq, masks[0] if masks else None, tile, grid)
        net.train(was_training)
        return replace(done, image=done.image.to(self.dtype))

    def state_dict(self) -> dict[str, Any]:
        """Return the training state without the weights, as tensors and plain values."""
        self.settle()
        return {
            'optimizers': [self.optimizer.state_dict()],
            'schedulers': [self.scheduler.state_dict()],
            'scaler': self.arithmetic.state_dict(),
            'precision': self.arithmetic.precision,
            'bad_steps': self.bad_steps,
            'steps_taken': self.steps_taken,
        }

    def load(self, checkpoint: Checkpoint, keep_weights: bool = False, new_recipe: bool = False) -> None:
        """Restore a checkpoint.

        Args:
            checkpoint: of the same network and optimizer.
            keep_weights: do not load the network's weights.
            new_recipe: load only the moments of the optimizer, and keep its settings and the schedule of this recipe;
                otherwise, load all.

        Raises:
            WeightsError: the network differs.
            CheckpointError: the optimizer or the schedule differs.
        """
        state = checkpoint.state
        self.settle()
        if not keep_weights:
            file = checkpoint.path
            mask_value = contract_of(self.net).mask_value
            load_or_explain(self.net, Weights(file, checkpoint.params, mask_value=mask_value))
            if self.ema is not None:
                averages = checkpoint.params_ema or checkpoint.params
                load_weights(self.ema.net, Weights(file, averages, mask_value=mask_value))
        try:
            if new_recipe:
                recipe = self.recipe
                continue_anew(self.optimizer, self.scheduler, recipe.optim_g, recipe.warmup_iter, checkpoint)
            else:
                continue_exactly(self.optimizer, self.scheduler, checkpoint)
            if self.chooses_precision and state.get('precision') in ('fp32', 'bf16'):
                self.arithmetic = Arithmetic(state['precision'], self.device)
                self.chooses_precision = False
            self.arithmetic.load_state_dict(state.get('scaler', {}))
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f'{checkpoint.path} does not fit the optimizer or the schedule: {error}. To start a new training from '
                'its weights only, set path.pretrain_network_g to the network file'
            ) from error
        self.iteration, self.bad_steps = checkpoint.iteration, int(state.get('bad_steps', 0))
        self.steps_taken = int(state.get('steps_taken', self.iteration))  # version 0.1 did not count them


def grid_of(options: ValOptions, height: int, width: int) -> Grid | None:
    """Return the tiles of ``val.grids``; None if it is not set."""
    if not options.grids:
        return None
    tall = options.crop_size_h or int((options.crop_size_h_ratio or 1) * height)
    wide = options.crop_size_w or int((options.crop_size_w_ratio or 1) * width)
    return Grid(max(1, tall), max(1, wide), options.max_minibatch)
