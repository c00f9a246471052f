"""Keys of an option file with type, default and meaning: the top level; its sections are in schema_*.py.

A key is one field of a section, stated once: the checks, the documentation and the editor schema follow from it.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from basicsr.options.fields import FolderName, Legacy, NetworkBlock, Section, plain
from basicsr.options.paths import OptionalFilePath, OptionalNetworkPath
from basicsr.options.reader import Position, Tree
from basicsr.options.schema_data import DatasetOptions, PhaseKey, phase_of
from basicsr.options.schema_train import LoggerOptions, TrainOptions, ValOptions
from basicsr.utils.errors import OptionError
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import NotNegative, contradiction, parameters_of


class PathOptions(Section):
    """Weights to start from, and the training state to continue."""

    pretrain_network_g: OptionalNetworkPath = Field(default=None, description='File with the weights of the network.')
    strict_load_g: bool = Field(default=True, description='Require equal names and shapes; false loads what matches.')
    param_key: str | None = Field(
        default='params', description='Entry of the file with the weights; null if the file itself is the state dict.'
    )
    resume_state: OptionalFilePath = Field(
        default=None, description='Training state (`<iter>.state`) to continue from.'
    )
    resume_with_changes: bool = Field(
        default=False,
        description='Resume even if the training settings differ from those of the checkpoint, and apply the new '
        'settings; false raises an error that lists the differences.',
    )
    ignore_resume_networks: tuple[Literal['network_g'], ...] = Field(
        default=(), description='On resume, load these networks from `pretrain_network_g` instead of the checkpoint.'
    )


class DistOptions(Section):
    """Distributed training."""

    backend: Literal['nccl', 'gloo'] = Field(
        default='nccl', description='Distributed backend: `nccl` (GPU) or `gloo` (CPU).'
    )
    port: Annotated[int, Field(gt=0, lt=65536)] | None = Field(
        default=None, description='Port of the first node (Slurm); null derives it from the job ID.'
    )


@dataclass
class Origin:
    """Origin of the options; it is ignored when options are compared."""

    source: Path | None = field(default=None, compare=False)
    tree: Tree | None = field(default=None, compare=False)
    notices: tuple[str, ...] = field(default=(), compare=False)


class Options(Section):
    """The top level of an option file."""

    mode: Literal['default', 'reference'] = Field(
        default='default', description='`reference` reproduces the original where the default differs (table below).'
    )
    name: FolderName = Field(description='Name of the experiment: its folder is `experiments/<name>`.')
    model_type: Literal['ImageRestorationModel'] = Field(
        default='ImageRestorationModel', description='Class that implements training steps and validation.'
    )
    manual_seed: NotNegative | None = Field(default=None, description='Random seed; null draws one.')
    find_unused_parameters: bool = Field(
        default=False, description='Support networks with unused parameters on several GPUs.'
    )
    datasets: dict[PhaseKey, DatasetOptions] = Field(min_length=1, description='Data sets by phase.')
    network_g: NetworkBlock = Field(description='The network.')
    path: PathOptions = Field(default_factory=PathOptions, description='Weights and training states to load.')
    train: TrainOptions | None = Field(default=None, description='Training settings; omit them for evaluation.')
    val: ValOptions = Field(default_factory=ValOptions, description='Validation and evaluation.')
    logger: LoggerOptions = Field(default_factory=LoggerOptions, description='Logging and checkpoints.')
    dist_params: DistOptions = Field(default_factory=DistOptions, description='Distributed training.')
    scale: Annotated[int | None, Legacy()] = Field(
        default=None, description='Must be 1: images are restored at their own size.'
    )
    num_gpu: Annotated[NotNegative | None, Legacy()] = Field(
        default=None, description='0 uses the CPU; other numbers are ignored.'
    )
    grouped_masks: Annotated[bool | None, Legacy()] = Field(
        default=None, description='Ignored: the masks come from the data set.'
    )

    @model_validator(mode='after')
    def _keys_fit_each_other(self) -> Options:
        keys: dict[str, str] = {}
        for key, dataset in self.datasets.items():
            parameters = parameters_of(REGISTRIES['dataset'].get(dataset.type))
            parameter, phase, takes_size = parameters.get('phase'), phase_of(key), 'gt_size' in parameters
            if parameter is not None and phase not in typing.get_args(parameter.annotation):
                raise contradiction(f'datasets.{key}: {dataset.type} cannot be used for {phase}')
            if phase == 'train' and self.train is not None and self.train.stages is not None and not takes_size:
                raise contradiction(f'train.stages: {dataset.type} of datasets.{key} has no gt_size to change')
            if phase != 'train' and (other := keys.setdefault(dataset.name, key)) != key:
                text = f"datasets.{key}.name: '{dataset.name}' is also the name of datasets.{other}"
                raise contradiction(f'{text}; choose another one')
        label, known = self.logger.best_metric, ', '.join(self.val.metrics) or 'it is empty'
        if label is not None and label not in self.val.metrics:
            raise contradiction(f"logger.best_metric: '{label}' is not a label of val.metrics ({known})")
        if label is not None and not any(phase_of(key) == 'val' for key in self.datasets):
            raise contradiction('logger.best_metric: datasets.val is missing')
        return self

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def source(self) -> Path | None:
        """Return the path of the option file."""
        return self._origin.source

    @property
    def notices(self) -> tuple[str, ...]:
        """Return one line for each key or type of the original that has a different meaning here."""
        return self._origin.notices

    def for_training(self) -> tuple[TrainOptions, DatasetOptions]:
        """Return the training recipe and the training set.

        Raises:
            OptionError: the option file is for evaluation only.
        """
        if self.train is not None and 'train' in self.datasets:
            return self.train, self.datasets['train']
        there = {'train': self.train is not None, 'datasets.train': 'train' in self.datasets}
        missing = ' and '.join(key for key in there if not there[key])
        raise OptionError(f'{self.source}: {missing} missing; use an option file for training')

    def position(self, key: str | Sequence[str | int]) -> Position | None:
        """Return where a key (``train.optim_g.lr``, or its parts) was set, or where its parent was."""
        parts = key.split('.') if isinstance(key, str) else key
        return self._origin.tree.locate(parts) if self._origin.tree else None

    def as_dict(self) -> dict[str, Any]:
        """Return all options as plain values: defaults included, the original's own keys only where set."""
        return dict(plain(self))
