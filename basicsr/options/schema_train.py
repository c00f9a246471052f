"""The keys of an option file that describe training, validation and logging."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from basicsr.options.fields import FolderName, Legacy, LossBlock, MetricBlock, OptimizerBlock, SchedulerBlock, Section
from basicsr.utils.loader_options import NotRecipe
from basicsr.utils.signature import NotNegative, Positive, contradiction


class StageOptions(Section):
    """A stage of a training with patches that grow: its part of the steps, with its own patches and batches."""

    iterations: Positive = Field(description='Number of training steps of this stage.')
    gt_size: Positive = Field(
        description='Side of the training patches in pixels, instead of `gt_size` of the training set: at most the '
        'smaller side of the images, and a size that the network needs not pad.'
    )
    total_batch_size: Positive = Field(description='Global batch size; see `train.total_batch_size`.')
    batch_size_per_gpu: Annotated[Positive | None, NotRecipe()] = Field(
        default=None,
        description='Training samples per GPU and batch; null is `batch_size_per_gpu` of the training set.',
    )


class TrainOptions(Section):
    """The training settings."""

    optim_g: OptimizerBlock = Field(description='Optimizer of the network.')
    scheduler: SchedulerBlock = Field(description='Learning-rate schedule.')
    total_iter: Positive = Field(default=200_000, description='Number of training steps.')
    warmup_iter: Annotated[int, Field(ge=-1)] = Field(
        default=-1, description='Number of steps of linear learning-rate warm-up from 0; -1 disables it.'
    )
    pixel_opt: LossBlock | None = Field(default=None, description='Loss between output and ground truth.')
    perceptual_opt: LossBlock | None = Field(default=None, description='A second loss, added to `pixel_opt`.')
    kernel_opt: LossBlock | None = Field(
        default=None,
        description='Loss between the estimated and the true blur kernel, for networks that find one; needs a data set '
        'with kernels, such as `UniformBlurDataset`. Without `pixel_opt`, only the part that finds it is trained.',
    )
    true_kernels: bool = Field(
        default=False,
        description='Give the true kernels to a network that would find them, so that only the part that uses them is '
        'trained.',
    )
    total_batch_size: Positive | None = Field(
        default=None,
        description='Global batch size; gradients are accumulated over batches of at most `batch_size_per_gpu`. '
        'null is `batch_size_per_gpu` times the number of processes.',
    )
    stages: Annotated[tuple[StageOptions, ...], Field(min_length=1)] | None = Field(
        default=None,
        description='Progressive training: stages with their own patch and batch sizes, whose `iterations` add up to '
        '`total_iter`. null is one stage with `gt_size` of the training set and `total_batch_size`.',
    )
    published_batch_size: Annotated[Positive | None, NotRecipe()] = Field(
        default=None,
        description='Global batch size of the published recipe that the file follows; training with a different size '
        'logs a warning. null if there is none.',
    )
    use_grad_clip: bool = Field(default=True, description='Clip the global gradient norm.')
    grad_clip_norm: Annotated[float, Field(gt=0)] = Field(default=0.01, description='Maximum gradient norm.')
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description='Decay of the exponential moving average (EMA) of the weights, used for validation and results; '
        '0 disables it.',
    )
    precision: Literal['fp32', 'bf16', 'fp16', 'auto'] = Field(
        default='fp32',
        description='Mixed precision (autocast dtype) in training; weights and losses stay in fp32. `auto` measures at '
        'the start whether `bf16` is faster, and a resumed training keeps that choice.',
    )
    tf32: bool | None = Field(
        default=None,
        description='Let GPUs compute fp32 products and convolutions of training steps in TF32. null is the default of '
        'PyTorch: convolutions only.',
    )
    activation_checkpointing: Annotated[bool, NotRecipe()] = Field(
        default=False,
        description='Compute the activations of blocks again in the backward pass instead of keeping them: slower '
        'steps with much less memory and the same result.',
    )
    channels_last: bool | None = Field(
        default=None, description='Use the `channels_last` memory format. null chooses by device and precision.'
    )
    compile: bool = Field(
        default=False, description='Compile the network with `torch.compile`; on CPUs, this needs a C++ compiler.'
    )
    deterministic: bool = Field(default=False, description='Use deterministic algorithms (bit-reproducible) on GPUs.')
    max_bad_steps: Annotated[Positive, NotRecipe()] = Field(
        default=10, description='Stop training after this many consecutive steps with a non-finite loss or gradient.'
    )
    on_bad_image: Annotated[Literal['raise', 'skip'], NotRecipe()] = Field(
        default='raise', description='What to do if an image cannot be read: stop training, or use a different image.'
    )
    mixup: Annotated[bool | None, Legacy()] = Field(default=None, description='Must be false: mixup is not supported.')

    @model_validator(mode='after')
    def _has_loss(self) -> TrainOptions:
        if self.pixel_opt is None and self.perceptual_opt is None and self.kernel_opt is None:
            raise contradiction("a loss is missing: set 'pixel_opt', 'perceptual_opt' or 'kernel_opt'")
        if self.kernel_opt is not None and self.true_kernels:
            raise contradiction("'kernel_opt' needs 'true_kernels: false': a given kernel is not estimated")
        return self

    @model_validator(mode='after')
    def _stages_add_up(self) -> TrainOptions:
        if self.stages is None:
            return self
        steps = sum(stage.iterations for stage in self.stages)
        if steps != self.total_iter:
            raise contradiction(f"the iterations of 'stages' add up to {steps}, but 'total_iter' is {self.total_iter}")
        if self.total_batch_size is not None:
            raise contradiction("'total_batch_size' has no effect with 'stages', which have their own; set it to null")
        return self


class ValOptions(Section):
    """Validation during training, and the evaluation of a test file."""

    val_freq: Positive = Field(default=10_000, description='Training steps between two validations.')
    validate_first: bool = Field(default=True, description='Validate after the first training step as well.')
    max_images: Positive | None = Field(default=None, description='Number of images to score; null scores all.')
    on_bad_image: Literal['raise', 'skip'] = Field(
        default='raise', description='What to do if an image cannot be read: stop, or skip it.'
    )
    save_img: bool = Field(default=False, description='Write the output images.')
    metrics: dict[FolderName, MetricBlock] = Field(
        default_factory=dict,
        description='Metrics by their label in logs and tables. `basicsr/test.py` also reports psnr, ssim and mcr if '
        'they are not listed.',
    )
    psnr_per_row: bool = Field(
        default=False,
        description='Write the mean PSNR of every row as a table and a chart (`<dataset>_rows.csv`, `.svg`); '
        '`basicsr/test.py` only.',
    )
    use_image: bool = Field(
        default=True,
        description='Round images to 8 bits before PSNR and SSIM, as in written files; false scores the float output, '
        'clamped to [0, 1] (not clamped in `mode: reference`).',
    )
    rgb2bgr: Literal[True] = Field(
        default=True, description='Must be true: the channel order is converted automatically.'
    )
    precision: Literal['fp32', 'bf16'] = Field(
        default='fp32',
        description='Precision of the network; metrics are always computed in full precision. `bf16` needs a GPU '
        'that supports it (from Ampere on), or a CPU, where it is slow without bf16 units.',
    )
    tile: Positive | Literal['auto'] | None = Field(
        default='auto',
        description='Side of the tiles in pixels for large images; `auto` uses tiles only if an image does not fit in '
        'memory; null never uses tiles.',
    )
    batch_size: Positive = Field(
        default=1,
        description='Images of the same size that follow each other are restored together, at most this many; '
        'faster for small images on a GPU.',
    )
    grids: bool = Field(default=False, description='Use overlapping tiles as the original does; requires a tile size.')
    crop_size_h: Positive | None = Field(default=None, description='Height of the tiles in pixels.')
    crop_size_w: Positive | None = Field(default=None, description='Width of the tiles in pixels.')
    crop_size_h_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description='Height of the tiles as a fraction of the image height.'
    )
    crop_size_w_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description='Width of the tiles as a fraction of the image width.'
    )
    max_minibatch: Positive | None = Field(
        default=None, description='Maximum number of tiles in a batch; null sets no limit.'
    )

    @model_validator(mode='after')
    def _tile_size(self) -> ValOptions:
        for side in 'hw':
            given = [getattr(self, f'crop_size_{side}{ending}') is not None for ending in ('', '_ratio')]
            if all(given) or (self.grids and not any(given)):
                raise contradiction(f"'grids: true' needs either 'crop_size_{side}' or 'crop_size_{side}_ratio'")
        if self.batch_size > 1 and (self.grids or isinstance(self.tile, int)):
            raise contradiction("'batch_size' restores whole images; use 'tile: auto' and 'grids: false' with it")
        return self


class WandbOptions(Section):
    """Weights & Biases."""

    project: str | None = Field(default=None, description='Project to log to; null disables logging.')
    resume_id: str | None = Field(default=None, description='ID of the run to resume.')


class LoggerOptions(Section):
    """Logging and checkpoints of a training run."""

    print_freq: Positive = Field(default=10, description='Training steps between two log lines.')
    save_checkpoint_freq: Positive = Field(default=5_000, description='Training steps between two checkpoints.')
    keep_checkpoints: Positive | None = Field(
        default=10, description='Number of recent checkpoints to keep; null keeps all.'
    )
    best_metric: str | None = Field(
        default=None,
        description='Label of a metric in `val.metrics`: the best network on the first validation set is saved as '
        '`net_g_best.pth`.',
    )
    images: NotNegative = Field(default=4, description='Number of validation images in TensorBoard.')
    use_tb_logger: bool = Field(default=True, description='Write TensorBoard files.')
    wandb: WandbOptions | None = Field(default=None, description='Weights & Biases; null disables it.')
