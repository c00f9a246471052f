"""ImageRestorationModel: one training step, and one restoration of a batch."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.archs import build_network
from basicsr.archs.contract import contract_of
from basicsr.inference.restoring import Restored, restore_image
from basicsr.inference.tiling import Grid
from basicsr.losses import WeightedSumLoss, build_loss, targets_of
from basicsr.models.misfit import load_or_explain
from basicsr.options import Options
from basicsr.options.schema_train import TrainOptions, ValOptions
from basicsr.training.checkpoints import Checkpoint
from basicsr.training.distributed import Processes
from basicsr.training.ema import MovingAverage
from basicsr.training.optimizers import build_optimizer
from basicsr.training.precision import Arithmetic
from basicsr.training.resuming import continue_anew, continue_exactly
from basicsr.training.scheduling import advance, build_scheduler
from basicsr.utils.device import set_memory_format
from basicsr.utils.errors import CheckpointError, OptionError
from basicsr.utils.registry import MODEL_REGISTRY
from basicsr.weights.files import Weights, load_weights, read_weights

logger = logging.getLogger(__name__)

Batch = Mapping[str, Any]


@dataclass(frozen=True)
class StepResult:
    """The outcome of one training step.

    Args:
        losses: losses of this process by name, means over the accumulated batches.
        grad_norm: global norm of the gradient before clipping.
        lr: learning rate of the first parameter group.
        problem: why the optimizer step was skipped, with the images of all processes; None if it was not.
    """

    losses: dict[str, float]
    grad_norm: float
    lr: float
    problem: str | None = None


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
        self._memory_format = (
            torch.channels_last if train is not None and train.channels_last else torch.contiguous_format
        )
        set_memory_format(self.net.to(self.device, dtype), self._memory_format)
        self.ema: MovingAverage | None = None
        self.iteration = 0
        if train is not None:
            self._prepare_training(train, options.find_unused_parameters)

    def _prepare_training(self, train: TrainOptions, find_unused_parameters: bool) -> None:
        self.recipe = train
        self.losses = {
            name: build_loss(block).to(self.device)
            for name, block in (('l_pix', train.pixel_opt), ('l_percep', train.perceptual_opt))
            if block is not None
        }
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
            self._forward = torch.compile(self._forward)  # type: ignore[assignment]
        self.optimizer = build_optimizer(self.net, train.optim_g, fuse=True)
        self.scheduler = build_scheduler(self.optimizer, train.scheduler, train.total_iter)
        self.arithmetic = Arithmetic(train.precision, self.device)
        if train.ema_decay:
            self.ema = MovingAverage(self.net, train.ema_decay)
        self.bad_steps = self.steps_taken = 0

    @property
    def result_net(self) -> nn.Module:
        """The network for validation and results: the EMA network if used."""
        return self.net if self.ema is None else self.ema.net

    def train_step(self, *batches: Batch) -> StepResult:
        """Run one optimizer step.

        If a loss or gradient is not finite in any process, all processes skip the step; ``bad_steps`` counts such
        steps in a row, without overflows of fp16.

        Args:
            batches: one, or several whose gradients are accumulated: ``lq``, ``gt`` (B, C, H, W) floats in [0, 1] on
                the device, and ``masks`` and ``mask_seed`` for networks that take masks.
        """
        self.iteration += 1
        advance(self.optimizer, self.scheduler, self.iteration, self.recipe.warmup_iter)
        self.net.train()
        self.optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        keep_gradients = getattr(self._forward, 'no_sync', contextlib.nullcontext)
        for number, batch in enumerate(batches, 1):
            # until the last batch, gradients stay in this process
            with keep_gradients() if number < len(batches) else contextlib.nullcontext():
                loss, terms = self.loss_of(batch, self._forward)
                self.arithmetic.backward(loss / len(batches))
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / len(batches)
        self.arithmetic.unscale(self.optimizer)
        norm = self._clip_gradient()
        *values, grad_norm = torch.stack([*sums.values(), norm]).tolist()  # the only host-device synchronization
        losses = dict(zip(sums, values, strict=True))
        problem = self._step_if_finite(losses, grad_norm, batches)
        return StepResult(losses, grad_norm, float(self.optimizer.param_groups[0]['lr']), problem)

    def loss_of(self, batch: Batch, net: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch and its terms.

        Args:
            batch: as for :meth:`train_step`.
            net: the network, or its wrapper.

        Returns:
            the total loss, a scalar; and all losses of the recipe by name, with the terms of summed losses.
        """
        with self.arithmetic.autocast():
            outputs = net(*self.inputs(batch))
        outputs = [outputs] if isinstance(outputs, Tensor) else outputs
        targets = targets_of(outputs, batch['gt'].to(self.dtype))
        terms: dict[str, Tensor] = {}
        for output, target in zip(outputs, targets, strict=True):
            for name, loss in self.losses.items():
                if isinstance(loss, WeightedSumLoss):
                    parts = loss.terms(output, target)
                    value = torch.stack(list(parts.values())).sum()
                else:
                    parts, value = {}, loss(output, target)
                for key, part in {name: value, **{f'{name}_{term}': part for term, part in parts.items()}}.items():
                    terms[key] = terms[key] + part if key in terms else part
        return torch.stack([terms[name] for name in self.losses]).sum(), terms

    def _clip_gradient(self) -> Tensor:
        """Clip the gradient if the recipe requires it; return its norm before that."""
        parameters = [p for p in self.net.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.recipe.use_grad_clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.grad_clip_norm, norm)
        return norm.to(self.device)

    def _step_if_finite(self, losses: Mapping[str, float], grad_norm: float, batches: Sequence[Batch]) -> str | None:
        """Update the weights, or return the reason for skipping the step."""
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        bad_loss, bad_gradient = self.processes.any(bool(wrong), not math.isfinite(grad_norm))
        if not (bad_loss or bad_gradient):
            self.arithmetic.step(self.optimizer)
            if self.ema is not None:
                self.ema.update(self.net)
            self.bad_steps = 0
            self.steps_taken += 1
            return None
        overflow = not bad_loss and self.arithmetic.scale > 1  # fp16 has too small a range for this loss scale
        self.arithmetic.skip(overflow)
        if overflow:
            return f'fp16 overflowed; reduced the loss scale to {self.arithmetic.scale:g}'
        self.bad_steps += 1
        files = ', '.join(path for batch in batches for path in batch.get('lq_path', ()))
        own = f'{", ".join(wrong) or "the gradient"} not finite, images: {files}' if wrong or not bad_loss else ''
        return '; '.join(text for text in self.processes.gather_text(own) if text)

    def inputs(self, batch: Batch) -> tuple[Any, ...]:
        """Return the network's arguments: the image, possibly with a gray mask as fourth channel, and region masks."""
        lq = batch['lq'].to(self.dtype)
        if self.prior == 'gray':
            lq = torch.cat([lq, batch['masks'].to(self.dtype)], 1)
        lq = lq.contiguous(memory_format=self._memory_format)
        if self.prior != 'regions':
            return (lq,)
        if self.net.training and self.contract.takes_seeds:
            return lq, batch['masks'], batch.get('mask_seed')
        return lq, batch['masks']

    def restore(self, batch: Batch, options: ValOptions | None = None) -> Restored:
        """Restore a batch in full precision and without dropout, with the EMA weights if used.

        Args:
            batch: as for :meth:`train_step`, without ``gt``; any image size.
            options: tiling of large images (batches of one image only); None disables tiling.

        Returns:
            the last output, (B, C, H, W) float on the device, nominally in [0, 1], not clamped.
        """
        net = self.result_net
        was_training = net.training
        net.eval()
        lq, *masks = self.inputs(batch)
        grid = None if options is None else grid_of(options, *lq.shape[-2:])
        tile = None if options is None else options.tile
        restored = restore_image(net, lq, masks[0] if masks else None, tile, grid)
        net.train(was_training)
        return replace(restored, image=restored.image.to(self.dtype))

    def require_fit(self, key: str, dataset: Any, item: Mapping[str, Any] | None = None) -> None:
        """Check that a data set has the masks that the network needs.

        Args:
            key: of the data set in the option file, for the error message.
            dataset: of :func:`basicsr.data.build_dataset`.
            item: one of its samples; None reads the first one.

        Raises:
            OptionError: masks are missing, of the wrong kind, or not used by the network.
        """
        name, item = type(self.net).__name__, dataset[0] if item is None else item
        gray = getattr(dataset, 'gray_masks', None)
        needs = {
            'regions': 'region masks; use a data set with them, such as PairedImageGroupMaskDataset',
            'gray': 'a gray mask (mask: true); use PairedImageMaskDataset',
        }
        if self.prior != 'none' and ('masks' not in item or bool(gray) != (self.prior == 'gray')):
            raise OptionError(f'{key}: {type(dataset).__name__} does not fit {name}, which needs {needs[self.prior]}')
        if self.prior == 'none' and 'masks' in item and gray is not None:  # None: generated, not read
            raise OptionError(
                f'{key}: {type(dataset).__name__} reads masks, but {name} takes none; use PairedImageDataset, '
                'or a network with masks'
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the training state without the weights, as tensors and plain values."""
        return {
            'optimizers': [self.optimizer.state_dict()],
            'schedulers': [self.scheduler.state_dict()],
            'scaler': self.arithmetic.state_dict(),
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
            WeightsError: the network is another one.
            CheckpointError: the optimizer or the schedule is another one.
        """
        state = checkpoint.state
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
            self.arithmetic.load_state_dict(state.get('scaler', {}))
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError) as error:
            raise CheckpointError(
                f'{checkpoint.path} has another optimizer or schedule: {error}. To start a new training from its '
                'weights only, set path.pretrain_network_g to the network file'
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
