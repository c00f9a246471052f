"""The keys of an option file that describe data sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import Block, FolderName, KeyPattern, Legacy, NotNegative, Positive, is_legacy
from basicsr.utils.errors import nearest

PHASES = ('train', 'val', 'test')


def phase_of(key: str) -> str:
    """The phase in a key of ``datasets``: the text before the first ``_``."""
    return key.split('_')[0]


def _known_phase(key: str) -> str:
    """A key of ``datasets``: its phase, and optionally ``_`` and anything."""
    phase = phase_of(key)
    if phase not in PHASES:
        raise PydanticCustomError(
            'phase',
            "unknown phase; a key of datasets is train, val or test, with '_' and any text after it{hint}",
            {'hint': nearest(phase, PHASES)},
        )
    return key


Phase = Annotated[str, AfterValidator(_known_phase), KeyPattern('^(train|val|test)(_.*)?$')]


class DatasetOptions(Block):
    """One data set. The key of `datasets` that it stands under is its phase: `train`, `val`, `test`, `test_2`, ..."""

    kind = 'dataset'
    supplied = ('phase',)

    name: FolderName = Field(description='Name of the data set in logs, tables and result folders.')
    num_worker_per_gpu: NotNegative = Field(default=16, description='Processes that load training data, for each GPU.')
    batch_size_per_gpu: Positive = Field(default=32, description='Training samples at once on each GPU.')
    dataset_enlarge_ratio: Positive = Field(default=1, description='How often one pass goes over the training set.')
    sampler: Literal['default', 'reference'] = Field(
        default='default',
        description='Order of training samples: ours, the same for any number of processes and workers, or that of '
        'the original.',
    )
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

    def as_dict(self) -> dict[str, Any]:
        """All keys, those of the loader included; ``build_dataset`` takes it as it is."""
        own = {name: getattr(self, name) for name in self.own_fields()}
        shown = {
            name: own[name]
            for name, field in self.own_fields().items()
            if not is_legacy(field) or own[name] is not None
        }
        return {'name': shown.pop('name'), 'type': self.type, **self.arguments, **shown}

    @model_validator(mode='after')
    def _consistent(self) -> DatasetOptions:
        if self.prefetch_mode == 'cuda' and not self.pin_memory:
            raise PydanticCustomError('needs', "'prefetch_mode: cuda' needs 'pin_memory: true'")
        return self
