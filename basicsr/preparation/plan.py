"""What is to be prepared of a benchmark, and how: the plan that all stages follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from basicsr.preparation.benchmark_sets import CROP_SIZE, CROP_STEP, BenchmarkSet
from basicsr.preparation.output_files import Link
from basicsr.utils.errors import ArgumentError

STAGES = ('convert', 'crops', 'predeblur', 'masks', 'group', 'lmdb')
USUAL_STAGES = STAGES[:-1]
LABELS = {'train': 'grouped_masks_crops', 'val': 'grouped_masks', 'test': 'grouped_masks'}
TRAIN_GRAY = 'blur_predeblur_mask_crops'
PREDEBLURRED = 'predeblurred'
CROPS = {'input': 'blur_crops', 'target': 'sharp_crops'}
Origin = Literal['predeblurred', 'blurred']

NEEDS_WEIGHTS = (
    'the stage predeblur runs a network over the images before they are segmented; name its option file and weights:\n'
    '  --predeblur-opt options/train/GoPro/NAFNet.yml --predeblur-weights NAFNet-GoPro.pth\n'
    'or make the masks from the blurred images, without that stage: --masks-from blurred\n'
    'or leave the masks for later: --stages convert crops'
)


@dataclass(frozen=True)
class Network:
    """What the stage ``predeblur`` runs.

    Args:
        block: ``network_g`` of an option file.
        weights: file with its parameters.
        param_key: entry of the file that holds them.
        device: where it runs.
    """

    block: Mapping[str, Any]
    weights: Path
    param_key: str | None = 'params'
    device: str = 'auto'


@dataclass(frozen=True)
class Plan:
    """What is to be prepared, and how.

    Args:
        benchmark: the set.
        out: folder of the result.
        root: folder of what was downloaded; only the stage ``convert`` needs it.
        parts: those to prepare; the usual ones if empty.
        blur: kind of blur; the set's default if empty.
        layout: its name; None recognises it.
        allow_partial: go on where counts differ.
        link: how files get to their place.
        masks_from: what the masks of training images are made from.
        cat_test: what the gray pictures of test images (CAT) are made from; None follows ``masks_from`` where the set
            has both. The region masks of test images are made from the blurred images in any case.
        generator: what makes masks: ``type`` and arguments.
        original_masks: boolean ``.npz`` by the original's gray coding instead of label maps.
        network: what restores images before they are segmented; the stage ``predeblur`` needs it.
        crop: size and step of the training crops, in pixels.
        workers: processes.
        force: make the files of the stages again, whatever is there.
    """

    benchmark: BenchmarkSet
    out: Path
    root: Path | None = None
    parts: tuple[str, ...] = ()
    blur: str = ''
    layout: str | None = None
    allow_partial: bool = False
    link: Link = 'copy'
    masks_from: Origin = 'predeblurred'
    cat_test: Origin | None = None
    generator: Mapping[str, Any] = field(default_factory=lambda: {'type': 'felzenszwalb'})
    original_masks: bool = False
    network: Network | None = None
    crop: tuple[int, int] = (CROP_SIZE, CROP_STEP)
    workers: int = 1
    force: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parts) - set(self.benchmark.counts))
        if unknown:
            known = ', '.join(self.benchmark.counts)
            raise ArgumentError(f'{self.benchmark.name} has no part {", ".join(unknown)}, only {known}')
        if self.blur and self.blur not in self.benchmark.blurs:
            kinds = ' or '.join(self.benchmark.blurs) or 'one kind, which has no name'
            raise ArgumentError(f"{self.benchmark.name} has no blur '{self.blur}'; it comes as {kinds}")
        if self.cat_test is not None and self.cat_test not in self.benchmark.cat_test:
            raise ArgumentError(f'the CAT pictures of {self.benchmark.name} are made from the blurred images only')
        if self.workers < 1 or min(self.crop) < 1:
            raise ArgumentError('workers and the size and step of crops are at least 1')

    @property
    def all_parts(self) -> tuple[str, ...]:
        """The parts to prepare."""
        return self.parts or self.benchmark.parts

    def predeblurs(self, part: str) -> bool:
        """Whether images of this part are restored before they are segmented."""
        if self.masks_from == 'predeblurred' and part == 'train':
            return True
        return part != 'train' and 'predeblurred' in self.benchmark.cat_test and self._cat_test == 'predeblurred'

    @property
    def _cat_test(self) -> Origin:
        return self.cat_test or self.masks_from

    def applies(self, stage: str, part: str) -> bool:
        """Whether there is anything to do."""
        return {'crops': part == 'train', 'predeblur': self.predeblurs(part)}.get(stage, True)

    def mask_folders(self, part: str) -> dict[str, str]:
        """Folders of label maps of whole images, and the folders of the images that they are made from."""
        if part == 'train':
            return {'masks': PREDEBLURRED if self.predeblurs(part) else 'input'}
        more = {'masks_predeblurred': PREDEBLURRED} if self.predeblurs(part) else {}
        return {'masks': 'input', **more}
