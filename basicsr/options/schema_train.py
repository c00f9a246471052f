"""The keys of an option file that describe training, validation and logging."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from basicsr.options.fields import FolderName, Legacy, LossBlock, MetricBlock, OptimizerBlock, SchedulerBlock, Section
from basicsr.utils.loader_options import NotRecipe
from basicsr.utils.signature import NotNegative, Positive, contradiction


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
    total_batch_size: Positive | None = Field(
        default=None,
        description='Global batch size; gradients are accumulated over batches of at most `batch_size_per_gpu`. '
        'null is `batch_size_per_gpu` times the number of processes.',
    )
    published_batch_size: Annotated[Positive | None, NotRecipe()] = Field(
        default=None,
        description='Global batch size of the published recipe that the file follows; training with another size logs '
        'a warning. null if there is none.',
    )
    use_grad_clip: bool = Field(default=True, description='Clip the global gradient norm.')
    grad_clip_norm: Annotated[float, Field(gt=0)] = Field(default=0.01, description='Maximum gradient norm.')
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description='Decay of the exponential moving average (EMA) of the weights, used for validation and results; '
        '0 disables it.',
    )
    precision: Literal['fp32', 'bf16', 'fp16'] = Field(
        default='fp32', description='Mixed precision (autocast dtype) in training; weights and losses stay in fp32.'
    )
    channels_last: bool = Field(default=True, description='Use the `channels_last` memory format.')
    compile: bool = Field(default=False, description='Compile the network with `torch.compile`, on GPUs.')
    deterministic: bool = Field(default=False, description='Use deterministic algorithms (bit-reproducible) on GPUs.')
    max_bad_steps: Annotated[Positive, NotRecipe()] = Field(
        default=10, description='Stop training after this many consecutive steps with a non-finite loss or gradient.'
    )
    on_bad_image: Annotated[Literal['raise', 'skip'], NotRecipe()] = Field(
        default='raise', description='What to do if an image cannot be read: stop training, or use another image.'
    )
    mixup: Annotated[bool | None, Legacy()] = Field(default=None, description='Must be false: mixup is not supported.')

    @model_validator(mode='after')
    def _has_loss(self) -> TrainOptions:
        if self.pixel_opt is None and self.perceptual_opt is None:
            raise contradiction("a loss is missing: set 'pixel_opt' or 'perceptual_opt'")
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
    use_image: bool = Field(
        default=True,
        description='Round images to 8 bits before PSNR and SSIM, as in written files; false scores the float output, '
        'clamped to [0, 1] (not clamped in `mode: reference`).',
    )
    rgb2bgr: Literal[True] = Field(
        default=True, description='Must be true: the channel order is converted automatically.'
    )
    tile: Positive | Literal['auto'] | None = Field(
        default='auto',
        description='Side of the tiles in pixels for large images; `auto` uses tiles only if an image does not fit in '
        'memory; null never uses tiles.',
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
