"""The stages of a training: parts of its steps with their own patches and batches (progressive training)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from basicsr.data import build_dataset
from basicsr.data.bad_images import first_sample
from basicsr.options.schema_data import DatasetOptions
from basicsr.options.schema_train import TrainOptions
from basicsr.training.batching import Batching, share_batch
from basicsr.utils.errors import OptionError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import parameters_of


@dataclass(frozen=True)
class Stage:
    """Consecutive training steps with the same patch and batch size.

    Args:
        batching: the split of a step's samples.
        end: number of training steps done at its end; the last stage of a training has no end.
        gt_size: side of the patches in pixels; None is that of the training set.
    """

    batching: Batching
    end: int = 0
    gt_size: int | None = None

    def __str__(self) -> str:
        return f'patches of {self.gt_size} pixels, {self.batching}' if self.gt_size else str(self.batching)


def stages_of(recipe: TrainOptions, block: DatasetOptions, world: int, published: int | None = None) -> list[Stage]:
    """Return the stages of a recipe: those of ``train.stages``, or one.

    Args:
        recipe: the training settings.
        block: the training set.
        world: number of processes.
        published: samples per step of the published recipe, if any.

    Raises:
        OptionError: a global batch cannot be split evenly over the processes.
    """
    at_most = block.batch_size_per_gpu
    if recipe.stages is None:
        return [Stage(share_batch(recipe.total_batch_size, at_most, world, published), recipe.total_iter)]
    stages, end = [], 0
    for number, stage in enumerate(recipe.stages, start=1):
        end += stage.iterations
        key = f'train.stages: total_batch_size of stage {number}'
        at_once = stage.batch_size_per_gpu or at_most
        stages.append(Stage(share_batch(stage.total_batch_size, at_once, world, published, key), end, stage.gt_size))
    return stages


def datasets_of(stages: Sequence[Stage], block: DatasetOptions, seed: int, skip_bad: bool) -> list[Any]:
    """Build the training set of each stage.

    Args:
        stages: of :func:`stages_of`.
        block: the training set.
        seed: of its draws.
        skip_bad: skip images that cannot be read.

    Raises:
        OptionError: patches are larger than the images, which would be padded by reflection.
        BasicsrError: files are missing or cannot be read.
    """
    sides = [stage.gt_size for stage in stages if stage.gt_size is not None]
    phase = parameters_of(DATASET_REGISTRY.get(block.type)).get('phase')
    if sides and phase is not None and 'val' in get_args(phase.annotation):  # whole images; generated ones check theirs
        image = first_sample(build_dataset(block, phase='val', seed=seed), skip_bad)
        height, width = image['lq'].shape[-2:]
        if max(sides) > min(height, width):
            raise OptionError(
                f'train.stages: gt_size {max(sides)} of stage {sides.index(max(sides)) + 1} is larger than '
                f'{image["lq_path"]} ({width} × {height}); use smaller patches or larger images'
            )
    return [
        build_dataset(block.as_dict() | ({} if stage.gt_size is None else {'gt_size': stage.gt_size}),
                      phase='train', seed=seed)
        for stage in stages
    ]  # fmt: skip
