"""The keys of an option file that describe data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import FolderName, KeyPattern, Legacy, NotNegative, Positive, Section
from basicsr.options.paths import FolderPath, OptionalFilePath, OptionalFolderPath
from basicsr.utils.errors import nearest

PHASES = ('train', 'val', 'test')


def _known_phase(key: str) -> str:
    """A key of ``datasets``: its phase, and optionally ``_`` and anything."""
    phase = key.split('_')[0]
    if phase not in PHASES:
        raise PydanticCustomError(
            'phase',
            "unknown phase; a key of datasets is train, val or test, with '_' and any text after it{hint}",
            {'hint': nearest(phase, PHASES)},
        )
    return key


def _has_stem(template: str) -> str:
    if template.count('{}') != 1 or '/' in template or '\\' in template:
        raise PydanticCustomError('template', "expected a file name (no slashes) with one '{}' for the stem")
    return template


Phase = Annotated[str, AfterValidator(_known_phase), KeyPattern('^(train|val|test)(_.*)?$')]


class IoBackendOptions(Section):
    """How the pictures of a data set are stored."""

    type: Literal['disk', 'lmdb'] = Field(default='disk', description='Folders of files, or LMDB folders (`*.lmdb`).')


class DatasetOptions(Section):
    """One data set. The key of `datasets` that it stands under is its phase: `train`, `val`, `test`, `test_2`, ..."""

    name: FolderName = Field(description='Name of the data set in logs, tables and result folders.')
    type: Literal['PairedImageDataset', 'PairedImageMaskDataset', 'PairedImageGroupMaskDataset'] = Field(
        description='Image pairs; pairs with a gray mask as fourth channel (CAT); pairs with region masks (MAP).'
    )
    dataroot_gt: FolderPath = Field(description='Folder of the sharp images.')
    dataroot_lq: FolderPath = Field(description='Folder of the blurred images.')
    dataroot_mask: OptionalFolderPath = Field(
        default=None, description='Folder of the masks; needed by the types with masks.'
    )
    filename_tmpl: Annotated[str, AfterValidator(_has_stem)] = Field(
        default='{}', description='Name of a blurred image, without extension; `{}` is the stem of its sharp image.'
    )
    meta_info_file: OptionalFilePath = Field(
        default=None,
        description='Text file whose lines start with the names of the sharp images to use; null takes all.',
    )
    io_backend: IoBackendOptions = Field(default_factory=IoBackendOptions, description='How the pictures are stored.')
    mean: tuple[float, float, float] | None = Field(
        default=None, description='Subtracted from the R, G, B of both images, which lie in [0, 1].'
    )
    std: tuple[float, float, float] | None = Field(
        default=None, description='Divides R, G, B after `mean` is subtracted.'
    )
    gt_size: Positive = Field(default=256, description='Side of the random training crops, in pixels.')
    use_flip: bool = Field(default=True, description='Flip training samples left to right at random.')
    use_rot: bool = Field(default=True, description='Flip training samples top to bottom and transpose them at random.')
    num_worker_per_gpu: NotNegative = Field(default=16, description='Processes that load training data, for each GPU.')
    batch_size_per_gpu: Positive = Field(default=32, description='Training samples in one step, for each GPU.')
    dataset_enlarge_ratio: Positive = Field(default=1, description='How often one pass goes over the training set.')
    prefetch_mode: Literal['cpu', 'cuda'] | None = Field(
        default=None,
        description='Prepare the next batch in a thread (`cpu`) or on a side stream (`cuda`, needs `pin_memory`).',
    )
    num_prefetch_queue: Positive = Field(default=1, description='Batches that `prefetch_mode: cpu` keeps ready.')
    pin_memory: bool = Field(
        default=False, description='Load batches into page-locked memory, which copies to a GPU faster.'
    )
    use_shuffle: Annotated[bool | None, Legacy()] = Field(
        default=None, description='Ignored: training data are shuffled.'
    )

    @model_validator(mode='after')
    def _consistent(self) -> DatasetOptions:
        if self.type != 'PairedImageDataset' and self.dataroot_mask is None:
            raise PydanticCustomError('needs', "{type} needs the key 'dataroot_mask'", {'type': self.type})
        if self.prefetch_mode == 'cuda' and not self.pin_memory:
            raise PydanticCustomError('needs', "'prefetch_mode: cuda' needs 'pin_memory: true'")
        if (self.mean is None) != (self.std is None):
            raise PydanticCustomError('needs', "'mean' and 'std' need each other")
        return self
