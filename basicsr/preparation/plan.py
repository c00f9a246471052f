"""The plan of a preparation: all settings that the stages share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from basicsr.preparation.benchmark_sets import CROP_SIZE, CROP_STEP, BenchmarkSet
from basicsr.preparation.output_files import LinkMode
from basicsr.utils.errors import ArgumentError

STAGES = ('convert', 'crops', 'predeblur', 'masks', 'group', 'lmdb')
USUAL_STAGES = STAGES[:-1]
LABELS = {'train': 'grouped_masks_crops', 'val': 'grouped_masks', 'test': 'grouped_masks'}
TRAIN_GRAY = 'blur_predeblur_mask_crops'
PREDEBLURRED = 'predeblurred'
CROPS = {'input': 'blur_crops', 'target': 'sharp_crops'}
MaskOrigin = Literal['predeblurred', 'blurred']

NEEDS_WEIGHTS = (
    'the stage predeblur restores the images with a network before segmentation; pass its option file and weights:\n'
    '  --predeblur-opt options/train/GoPro/NAFNet.yml --predeblur-weights NAFNet-GoPro.pth\n'
    'or make the masks from the blurred images, without that stage: --masks-from blurred\n'
    'or make the masks later: --stages convert crops'
)


@dataclass(frozen=True)
class PredeblurNetwork:
    """The network of the stage ``predeblur``.

    Args:
        block: ``network_g`` of an option file.
        weights: its network file.
        param_key: key of the state dict in the file.
        device: device to run on.
    """

    block: Mapping[str, Any]
    weights: Path
    param_key: str | None = 'params'
    device: str = 'auto'


@dataclass(frozen=True)
class Plan:
    """The settings of a preparation.

    Args:
        benchmark: the set.
        out: folder of the result.
        root: folder of the download; only the stage ``convert`` needs it.
        parts: the parts to prepare; empty for the default ones.
        blur: kind of blur; empty for the default of the set.
        layout: name of the folder layout; None recognises it.
        allow_partial: continue if counts differ.
        link: how to create the new files.
        masks_from: images that the masks of training images are made from.
        cat_test: images that the gray masks (CAT) of test images are made from; None follows ``masks_from`` where the
            set has both. The region masks of test images are always made from the blurred images.
        generator: ``type`` and arguments of the mask generator.
        original_masks: write boolean ``.npz`` from the original's gray coding instead of label maps.
        network: restores images before segmentation; the stage ``predeblur`` needs it.
        crop: size and step of the training crops, in pixels.
        workers: number of processes.
        force: recreate the files of the stages.

    Raises:
        ArgumentError: an unknown part or blur, or a value out of range.
    """

    benchmark: BenchmarkSet
    out: Path
    root: Path | None = None
    parts: tuple[str, ...] = ()
    blur: str = ''
    layout: str | None = None
    allow_partial: bool = False
    link: LinkMode = 'copy'
    masks_from: MaskOrigin = 'predeblurred'
    cat_test: MaskOrigin | None = None
    generator: Mapping[str, Any] = field(default_factory=lambda: {'type': 'felzenszwalb'})
    original_masks: bool = False
    network: PredeblurNetwork | None = None
    crop: tuple[int, int] = (CROP_SIZE, CROP_STEP)
    workers: int = 1
    force: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(self.benchmark.counts))
        if unknown:
            known = ', '.join(self.benchmark.counts)
            raise ArgumentError(f'{self.benchmark.name} has no part {", ".join(unknown)}, only {known}')
        if self.blur and self.blur not in self.benchmark.blurs:
            kinds = ', '.join(self.benchmark.blurs) or 'one, without a name'
            raise ArgumentError(f"{self.benchmark.name} has no blur '{self.blur}'; its kinds of blur: {kinds}")
        if self.cat_test is not None and self.cat_test not in self.benchmark.cat_test:
            raise ArgumentError(f'the gray masks (CAT) of {self.benchmark.name} are made from the blurred images only')
        if self.workers < 1 or min(self.crop) < 1:
            raise ArgumentError('workers, crop size and crop step must be at least 1')

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The parts to prepare."""
        return self.parts or self.benchmark.parts

    def predeblurs(self, part: str) -> bool:
        """Return whether images of this part are restored before segmentation."""
        if part == 'train':
            return self.masks_from == 'predeblurred'
        return 'predeblurred' in self.benchmark.cat_test and (self.cat_test or self.masks_from) == 'predeblurred'

    def applies(self, stage: str, part: str) -> bool:
        """Return whether a stage has work for this part.

        Sets that are read as in their archive are only converted, and so are sequences, which have no masks.
        """
        only_converted = self.benchmark.archive is not None or self.benchmark.unit == 'sequences'
        if only_converted and stage != 'convert':
            return False
        return {'crops': part == 'train', 'predeblur': self.predeblurs(part)}.get(stage, True)

    def mask_folders(self, part: str) -> dict[str, str]:
        """Return the folders of whole label maps, and for each the folder of the images that it is made from."""
        if part == 'train':
            return {'masks': PREDEBLURRED if self.predeblurs(part) else 'input'}
        more = {'masks_predeblurred': PREDEBLURRED} if self.predeblurs(part) else {}
        return {'masks': 'input', **more}
