"""Options of the data loader, for option files and code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from basicsr.utils.problems import mismatches, refuse
from basicsr.utils.signature import NotNegative, Positive, validate_values


class NotRecipe:
    """Marks a field whose change does not change what a training computes, so that a run may resume with it."""


class LoaderOptions(BaseModel):
    """How training samples are ordered, batched and loaded."""

    model_config = ConfigDict(frozen=True, strict=True)

    num_worker_per_gpu: Annotated[NotNegative, NotRecipe()] = Field(
        default=16, description='Number of processes that load training data, per GPU.'
    )
    batch_size_per_gpu: Annotated[Positive, NotRecipe()] = Field(
        default=32, description='Training samples per GPU and batch.'
    )
    dataset_enlarge_ratio: Positive = Field(default=1, description='Repeats of the training set per epoch.')
    sampler: Literal['default', 'reference'] = Field(
        default='default',
        description='Order of the training samples: `default` is the same for any number of processes and workers, '
        '`reference` is the order of the original.',
    )
    prefetch_mode: Annotated[Literal['cpu', 'cuda'] | None, NotRecipe()] = Field(
        default=None,
        description='Copy the next batch to the GPU on a side stream (`cuda`), or prepare batches ahead in worker '
        'processes, at least one (`cpu`). null is `cuda` on GPUs.',
    )
    num_prefetch_queue: Annotated[Positive, NotRecipe()] = Field(
        default=1, description='Number of batches that `prefetch_mode: cpu` keeps ready, at least two per worker.'
    )
    pin_memory: Annotated[bool | None, NotRecipe()] = Field(
        default=None,
        description='Load batches into page-locked memory, which copies to a GPU faster. null does so on GPUs.',
    )

    @classmethod
    def of(cls, options: LoaderOptions | Mapping[str, Any] | object | None) -> LoaderOptions:
        """Return the options as an object.

        Args:
            options: a mapping, or an object with attributes; other keys are ignored, and None means the default.
                Without workers and with batches of 1 unless it sets them.

        Raises:
            ArgumentError: a value is not valid; lists all such values.
        """
        if isinstance(options, LoaderOptions):
            return options
        given = options if isinstance(options, Mapping) else getattr(options, '__dict__', {})
        known = {key: given[key] for key in cls.model_fields if given.get(key) is not None}
        known = {'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1, **known}
        found, _, mistakes = validate_values(cls, known)
        refuse('data loader', mismatches(mistakes, known, lambda place: None))
        return cast(LoaderOptions, found)
