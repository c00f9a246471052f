"""The keys of an option file that describe training, validation and what is written meanwhile."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import (
    FolderName,
    Legacy,
    LossBlock,
    MetricBlock,
    OptimizerBlock,
    Positive,
    SchedulerBlock,
    Section,
    WholeNumber,
)


class TrainOptions(Section):
    """The training recipe."""

    optim_g: OptimizerBlock = Field(description='Optimizer of the network.')
    scheduler: SchedulerBlock = Field(description='Learning rate over the iterations.')
    total_iter: Positive = Field(default=200_000, description='Training steps.')
    warmup_iter: Annotated[WholeNumber, Field(ge=-1)] = Field(
        default=-1, description='Steps over which the learning rate rises from 0 at the start; -1 is none.'
    )
    pixel_opt: LossBlock | None = Field(default=None, description='Loss between the output and the sharp image.')
    perceptual_opt: LossBlock | None = Field(default=None, description='A second loss, added to `pixel_opt`.')
    use_grad_clip: bool = Field(default=True, description='Limit the norm of the whole gradient to 0.01.')
    mixup: Annotated[bool | None, Legacy()] = Field(default=None, description='Must be false: there is no such method.')

    @model_validator(mode='after')
    def _has_loss(self) -> TrainOptions:
        if self.pixel_opt is None and self.perceptual_opt is None:
            raise PydanticCustomError('needs', "a loss is missing: set 'pixel_opt' or 'perceptual_opt'")
        return self


class ValOptions(Section):
    """Validation during training, and the evaluation of a test file."""

    val_freq: Positive = Field(default=10_000, description='Training steps between two validations.')
    save_img: bool = Field(default=False, description='Write the output images.')
    metrics: dict[FolderName, MetricBlock] = Field(
        default_factory=dict, description='Metrics by the label they get in logs and tables.'
    )
    use_image: bool = Field(default=True, description='Score images rounded to 8 bits, as they are written.')
    rgb2bgr: bool = Field(default=True, description='Score images in B, G, R order, as OpenCV reads them.')
    grids: bool = Field(default=False, description='Cut images into overlapping tiles; needs a tile size.')
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
    use_tb_logger: bool = Field(default=True, description='Write TensorBoard files.')
    wandb: WandbOptions | None = Field(default=None, description='Weights & Biases; null does without.')
