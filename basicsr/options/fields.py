"""What option sections are made of: strict sections, whole numbers, and ``type:`` blocks."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from basicsr.options import reference
from basicsr.options.paths import expand_block
from basicsr.utils.errors import nearest
from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import Problem, readable

if TYPE_CHECKING:
    from typing_extensions import Self


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole)]
"""An int; ``5e3`` is one too, because people write large numbers so."""
Positive = Annotated[WholeNumber, Field(gt=0)]
NotNegative = Annotated[WholeNumber, Field(ge=0)]


def _folder_name(name: str) -> str:
    if name.strip() != name or name in ('', '.', '..') or any(c in '/\\' or ord(c) < 32 for c in name):
        raise PydanticCustomError('path', 'a name becomes a folder: text without slashes, not . or .., and not empty')
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


class Legacy:
    """Marks a field that only option files of the original have; it is written out only where it was set."""


def is_legacy(field: FieldInfo) -> bool:
    """Whether a field bears that mark."""
    return any(isinstance(mark, Legacy) for mark in field.metadata)


@dataclass(frozen=True)
class KeyPattern:
    """Marks the keys of a mapping: a regular expression for editors (a validator does the checking)."""

    pattern: str


class Section(BaseModel):
    """A mapping whose keys are all known; objects of it never change."""

    model_config = ConfigDict(extra='forbid', frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Block(BaseModel):
    """``type:`` and the arguments of the class that it names.

    The class's signature is the only description of the arguments; they are checked against it when the block is made,
    and paths among them expand. Fields of a subclass are keys that stand beside the arguments.
    """

    model_config = ConfigDict(extra='allow', frozen=True, strict=True)

    kind: ClassVar[str]
    """Kind of the registry that knows the type."""
    supplied: ClassVar[tuple[str, ...]] = ()
    """Arguments that code passes, beside those that the registry knows of."""

    type: str = Field(description='Registered name of what to build; the other keys are its arguments.')

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the class; a copy."""
        return copy.deepcopy(self.model_extra or {})

    def as_dict(self) -> dict[str, Any]:
        """The block as the registry's ``build`` takes it."""
        return {'type': self.type, **self.arguments}

    @classmethod
    def names(cls) -> list[str]:
        """The types that an option file may name."""
        return REGISTRIES[cls.kind].names()

    @classmethod
    def own_fields(cls) -> dict[str, FieldInfo]:
        """The keys beside ``type`` and the arguments."""
        return {name: field for name, field in cls.model_fields.items() if name != 'type'}

    @model_validator(mode='wrap')
    @classmethod
    def _fit(cls, block: Any, make: Callable[[Any], Self], info: ValidationInfo) -> Self:
        if not isinstance(block, Mapping):
            return make(block)
        own = cls.own_fields()
        if (info.context or {}).get('mode') == 'reference':
            block = reference.apply(cls.kind, block, own)
        beside = {key: value for key, value in block.items() if key in own}
        arguments = {key: value for key, value in block.items() if key not in own}
        fitted, problems = REGISTRIES[cls.kind].check(arguments, cls.supplied, own)
        name = fitted.get('type')
        if isinstance(name, str) and name in REGISTRIES[cls.kind] and name not in cls.names():
            hint = nearest(name, cls.names()) or f'; known are {", ".join(cls.names())}'
            problems = [Problem(('type',), f"'{name}' is called from code, not from option files{hint}")]
        if not problems:
            fitted, problems = expand_block(cls.kind, fitted)
        try:
            made = make({**fitted, 'type': name if isinstance(name, str) else '', **beside})
        except ValidationError as error:
            if not problems:
                raise
            problems += readable(error, beside)
        if problems:
            summary = '; '.join(problem.message for problem in problems)
            raise PydanticCustomError('block', '{summary}', {'summary': summary, 'problems': problems})
        return made


class NetworkBlock(Block):
    """A network."""

    kind = 'network'


class LossBlock(Block):
    """A loss."""

    kind = 'loss'


class MetricBlock(Block):
    """A metric."""

    kind = 'metric'

    @classmethod
    def names(cls) -> list[str]:
        """The registered classes; the functions beside them (``calculate_psnr``) take images, not options."""
        registry = REGISTRIES[cls.kind]
        return [name for name in registry.names() if inspect.isclass(registry.get(name))]


class OptimizerBlock(Block):
    """An optimizer."""

    kind = 'optimizer'


class SchedulerBlock(Block):
    """A learning-rate schedule."""

    kind = 'scheduler'
