"""The keys of an option file that describe data sets."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import Block, FolderName, Legacy
from basicsr.utils.errors import nearest
from basicsr.utils.loader_options import LoaderOptions, NotRecipe
from basicsr.utils.signature import contradiction

PHASES = ('train', 'val', 'test')


def phase_of(key: str) -> str:
    """Return the phase in a key of ``datasets``: the text before the first ``_``."""
    return key.split('_')[0]


def _known_phase(key: str) -> str:
    phase = phase_of(key)
    if phase not in PHASES:
        raise PydanticCustomError(
            'phase',
            "unknown phase; a key of datasets is train, val or test, with '_' and any text after it{hint}",
            {'hint': nearest(phase, PHASES)},
        )
    return key


PhaseKey = Annotated[
    str, AfterValidator(_known_phase), WithJsonSchema({'type': 'string', 'pattern': f'^({"|".join(PHASES)})(_.*)?$'})
]
"""A key of ``datasets``: its phase, and optionally ``_`` and anything."""


class DatasetOptions(LoaderOptions, Block):
    """One data set. The key of `datasets` above it is its phase: `train`, `val`, `test`, `test_2`, ..."""

    model_config = Block.model_config

    kind = 'dataset'
    supplied = ('phase',)

    name: Annotated[FolderName, NotRecipe()] = Field(
        description='Name of the data set in logs, tables and result folders.'
    )
    use_shuffle: Annotated[bool | None, Legacy(), NotRecipe()] = Field(
        default=None, description='Ignored: training data are always shuffled.'
    )

    @model_validator(mode='after')
    def _consistent(self) -> DatasetOptions:
        if self.prefetch_mode == 'cuda' and self.pin_memory is False:
            raise contradiction("'prefetch_mode: cuda' needs 'pin_memory: true', or none")
        return self
