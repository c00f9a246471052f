"""The keys of an option file that describe training, validation and what is written meanwhile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import (
    FolderName,
    Legacy,
    LossBlock,
    MetricBlock,
    OptimizerBlock,
    SchedulerBlock,
    Section,
)
from basicsr.utils.loader_options import NotRecipe
from basicsr.utils.signature import NotNegative, Positive


class TrainOptions(Section):
    """The training recipe."""

    optim_g: OptimizerBlock = Field(description='Optimizer of the network.')
    scheduler: SchedulerBlock = Field(description='Learning rate over the iterations.')
    total_iter: Positive = Field(default=200_000, description='Training steps.')
    warmup_iter: Annotated[int, Field(ge=-1)] = Field(
        default=-1, description='Steps over which the learning rate rises from 0 at the start; -1 is none.'
    )
    pixel_opt: LossBlock | None = Field(default=None, description='Loss between the output and the sharp image.')
    perceptual_opt: LossBlock | None = Field(default=None, description='A second loss, added to `pixel_opt`.')
    total_batch_size: Positive | None = Field(
        default=None,
        description='Samples in one step of all processes together, whatever their number; gradients of several '
        'batches of at most `batch_size_per_gpu` are added up where needed. null is `batch_size_per_gpu` times the '
        'number of processes.',
    )
    published_batch_size: Annotated[Positive | None, NotRecipe()] = Field(
        default=None,
        description='Samples in one step of the published recipe that the file follows; a training with another number '
        'says so. null follows none.',
    )
    use_grad_clip: bool = Field(default=True, description='Limit the norm of the whole gradient.')
    grad_clip_norm: Annotated[float, Field(gt=0)] = Field(default=0.01, description='What it is limited to.')
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description='Keep a moving average of the weights, which validation and results use; 0 is none.'
    )
    precision: Literal['fp32', 'bf16', 'fp16'] = Field(
        default='fp32', description='Arithmetic of the network in training; weights and losses stay in fp32.'
    )
    channels_last: bool = Field(default=True, description='Keep the channels of a pixel side by side in memory.')
    compile: bool = Field(default=False, description='Compile the network with `torch.compile`; for GPUs.')
    deterministic: bool = Field(default=False, description='On GPUs: only algorithms that give the same bits again.')
    max_bad_steps: Annotated[Positive, NotRecipe()] = Field(
        default=10, description='Steps in a row with a loss or gradient that is not finite before training stops.'
    )
    on_bad_image: Annotated[Literal['raise', 'skip'], NotRecipe()] = Field(
        default='raise', description='An image that cannot be read ends the training, or another one takes its place.'
    )
    mixup: Annotated[bool | None, Legacy()] = Field(default=None, description='Must be false: there is no such method.')

    @model_validator(mode='after')
    def _has_loss(self) -> TrainOptions:
        if self.pixel_opt is None and self.perceptual_opt is None:
            raise PydanticCustomError('needs', "a loss is missing: set 'pixel_opt' or 'perceptual_opt'")
        return self


class ValOptions(Section):
    """Validation during training, and the evaluation of a test file."""

    val_freq: Positive = Field(default=10_000, description='Training steps between two validations.')
    validate_first: bool = Field(default=True, description='Validate after the first training step as well.')
    max_images: Positive | None = Field(default=None, description='Score the first images only; null scores all.')
    on_bad_image: Literal['raise', 'skip'] = Field(
        default='raise', description='What an evaluation does with an image that cannot be read: stop, or leave it out.'
    )
    save_img: bool = Field(default=False, description='Write the output images.')
    metrics: dict[FolderName, MetricBlock] = Field(
        default_factory=dict,
        description='Metrics by the label they get in logs and tables. `basicsr/test.py` reports psnr, ssim and mcr as '
        'well if they are not listed.',
    )
    use_image: bool = Field(
        default=True,
        description='PSNR and SSIM score images rounded to 8 bits, as they are written; false scores what the network '
        'returns, clamped to the range of images (`mode: reference` does not clamp).',
    )
    rgb2bgr: Literal[True] = Field(
        default=True, description='Colours are always in the order that a metric or a file needs.'
    )
    tile: Positive | Literal['auto'] | None = Field(
        default='auto',
        description='Side of the tiles, in pixels, that large images are cut into; `auto` cuts what does not fit into '
        'the memory; null never cuts.',
    )
    grids: bool = Field(
        default=False, description='As the original cuts: cut images into overlapping tiles; needs a tile size.'
    )
    crop_size_h: Positive | None = Field(default=None, description='Height of the tiles in pixels.')
    crop_size_w: Positive | None = Field(default=None, description='Width of the tiles in pixels.')
    crop_size_h_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description='Height of the tiles as a part of the image height.'
    )
    crop_size_w_ratio: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description='Width of the tiles as a part of the image width.'
    )
    max_minibatch: Positive | None = Field(default=None, description='Most tiles in one batch; null is all at once.')

    @model_validator(mode='after')
    def _tile_size(self) -> ValOptions:
        for side in 'hw':
            given = [getattr(self, f'crop_size_{side}{ending}') is not None for ending in ('', '_ratio')]
            if all(given) or (self.grids and not any(given)):
                text = "'grids: true' needs either 'crop_size_{side}' or 'crop_size_{side}_ratio'"
                raise PydanticCustomError('needs', text, {'side': side})
        return self


class WandbOptions(Section):
    """Weights & Biases."""

    project: str | None = Field(default=None, description='Project to log to; null does not log.')
    resume_id: str | None = Field(default=None, description='Run to continue.')


class LoggerOptions(Section):
    """What a training run writes, and how often."""

    print_freq: Positive = Field(default=10, description='Training steps between two log lines.')
    save_checkpoint_freq: Positive = Field(default=5_000, description='Training steps between two checkpoints.')
    keep_checkpoints: Positive | None = Field(
        default=10, description='How many checkpoints to keep, the last ones; null keeps all.'
    )
    best_metric: str | None = Field(
        default=None,
        description='Label of a metric in `val.metrics`: the network that is best on the first validation set is kept '
        'as `net_g_best.pth`.',
    )
    images: NotNegative = Field(default=4, description='Validation images to show in TensorBoard.')
    use_tb_logger: bool = Field(default=True, description='Write TensorBoard files.')
    wandb: WandbOptions | None = Field(default=None, description='Weights & Biases; null does without.')
