"""Every key of an option file, with its type, default and meaning: here the top level, in schema_*.py its sections.

A key is one field of a section, stated once: the checks, the documentation and the editor schema follow from it.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from basicsr.options.fields import FolderName, Legacy, NetworkBlock, Section, plain
from basicsr.options.paths import OptionalFilePath, OptionalNetworkPath
from basicsr.options.reader import Position, Tree
from basicsr.options.schema_data import DatasetOptions, Phase, phase_of
from basicsr.options.schema_train import LoggerOptions, TrainOptions, ValOptions
from basicsr.utils.errors import OptionError
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import NotNegative, parameters_of


class PathOptions(Section):
    """Weights to start from, and the training state to continue."""

    pretrain_network_g: OptionalNetworkPath = Field(default=None, description='File with the weights of the network.')
    strict_load_g: bool = Field(default=True, description='Insist on equal names and shapes; false loads what fits.')
    param_key: str | None = Field(
        default='params', description='Entry of the file that holds the weights; null: the file is the weights.'
    )
    resume_state: OptionalFilePath = Field(
        default=None, description='Training state (`<iter>.state`) to continue from.'
    )
    resume_with_changes: bool = Field(
        default=False,
        description='Go on with a recipe that is not that of the training state, and use all of it; false is an error '
        'that lists what differs.',
    )
    ignore_resume_networks: tuple[Literal['network_g'], ...] = Field(
        default=(), description='Networks that take their `pretrain_...` weights and not those beside `resume_state`.'
    )


class DistOptions(Section):
    """Several processes."""

    backend: Literal['nccl', 'gloo'] = Field(
        default='nccl', description='How processes talk: `nccl` (GPUs) or `gloo` (CPUs).'
    )
    port: Annotated[int, Field(gt=0, lt=65536)] | None = Field(
        default=None, description='Port of the first node (Slurm); null derives one from the number of the job.'
    )


@dataclass
class Origin:
    """Where options come from; two options are the same wherever they come from."""

    source: Path | None = field(default=None, compare=False)
    tree: Tree | None = field(default=None, compare=False)
    notices: tuple[str, ...] = field(default=(), compare=False)


class Options(Section):
    """The top level of an option file."""

    mode: Literal['default', 'reference'] = Field(
        default='default', description='`reference` reproduces the original where we depart from it (table below).'
    )
    name: FolderName = Field(description='Name of the experiment: its folder is `experiments/<name>`.')
    model_type: Literal['ImageRestorationModel'] = Field(
        default='ImageRestorationModel', description='What a training step and a validation are.'
    )
    manual_seed: NotNegative | None = Field(default=None, description='Seed of every random draw; null draws one.')
    find_unused_parameters: bool = Field(
        default=False, description='For networks that do not use all their weights in a step, on several GPUs.'
    )
    datasets: dict[Phase, DatasetOptions] = Field(min_length=1, description='Data sets by phase.')
    network_g: NetworkBlock = Field(description='The network.')
    path: PathOptions = Field(default_factory=PathOptions, description='Weights and states to start from.')
    train: TrainOptions | None = Field(default=None, description='The recipe; a file for evaluation only has none.')
    val: ValOptions = Field(default_factory=ValOptions, description='Validation and evaluation.')
    logger: LoggerOptions = Field(default_factory=LoggerOptions, description='Logs and checkpoints.')
    dist_params: DistOptions = Field(default_factory=DistOptions, description='Several processes.')
    scale: Annotated[int | None, Legacy()] = Field(
        default=None, description='Must be 1: images are restored at their own size.'
    )
    num_gpu: Annotated[NotNegative | None, Legacy()] = Field(
        default=None, description='0 keeps to the CPU; other numbers are ignored.'
    )
    grouped_masks: Annotated[bool | None, Legacy()] = Field(
        default=None, description='Ignored: a network that takes masks gets those of its data set.'
    )

    @model_validator(mode='after')
    def _phases_fit(self) -> Options:
        for key, dataset in self.datasets.items():
            parameter = parameters_of(REGISTRIES['dataset'].get(dataset.type)).get('phase')
            phase = phase_of(key)
            if parameter is not None and phase not in typing.get_args(parameter.annotation):
                raise PydanticCustomError(
                    'needs',
                    'datasets.{key}: {type} is not for {phase}',
                    {'key': key, 'type': dataset.type, 'phase': phase},
                )
        return self

    @model_validator(mode='after')
    def _results_are_kept_apart(self) -> Options:
        keys: dict[str, str] = {}
        for key, dataset in self.datasets.items():
            if phase_of(key) != 'train' and keys.setdefault(dataset.name, key) != key:
                raise PydanticCustomError(
                    'needs',
                    "datasets.{key}.name: '{name}' is the name of datasets.{other} as well; scores are kept by name",
                    {'key': key, 'name': dataset.name, 'other': keys[dataset.name]},
                )
        return self

    @model_validator(mode='after')
    def _best_is_a_metric(self) -> Options:
        label = self.logger.best_metric
        if label is not None and label not in self.val.metrics:
            known = ', '.join(self.val.metrics) or 'there are none'
            text = "logger.best_metric: '{label}' is no label of val.metrics ({known})"
            raise PydanticCustomError('needs', text, {'label': label, 'known': known})
        if label is not None and not any(phase_of(key) == 'val' for key in self.datasets):
            raise PydanticCustomError('needs', 'logger.best_metric: there is no validation set under datasets.val')
        return self

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def source(self) -> Path | None:
        """The option file."""
        return self._origin.source

    @property
    def notices(self) -> tuple[str, ...]:
        """One line for each thing the original's option files say that means something else here."""
        return self._origin.notices

    def for_training(self) -> tuple[TrainOptions, DatasetOptions]:
        """The recipe and the training set.

        Raises:
            OptionError: the option file is for evaluation only.
        """
        if self.train is not None and 'train' in self.datasets:
            return self.train, self.datasets['train']
        there = {'train': self.train is not None, 'datasets.train': 'train' in self.datasets}
        missing = ' and '.join(key for key in there if not there[key])
        raise OptionError(f'{self.source}: {missing} missing; this option file is for evaluation')

    def position(self, key: str | Sequence[str | int]) -> Position | None:
        """Where a key (``train.optim_g.lr``, or its parts) was set; its parent's place if it was not."""
        parts = key.split('.') if isinstance(key, str) else key
        return self._origin.tree.locate(parts) if self._origin.tree else None

    def as_dict(self) -> dict[str, Any]:
        """Return all options as plain values: defaults included, the original's own keys only where set."""
        values: dict[str, Any] = plain(self)
        return values
