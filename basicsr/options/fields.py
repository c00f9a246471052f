"""Building blocks of the schema: strict sections, ``type:`` blocks, and marks of fields."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from basicsr.options import reference
from basicsr.options.paths import expand_block
from basicsr.utils.errors import nearest
from basicsr.utils.loader_options import NotRecipe
from basicsr.utils.problems import Problem
from basicsr.utils.registry import REGISTRIES

if TYPE_CHECKING:
    from typing_extensions import Self


def _folder_name(name: str) -> str:
    if name.strip() != name or name in ('', '.', '..') or any(c in '/\\' or ord(c) < 32 for c in name):
        raise PydanticCustomError('path', 'a name becomes a folder: no slashes, not . or .., not empty')
    return name


FolderName = Annotated[str, AfterValidator(_folder_name)]


class Legacy:
    """Marks a field that only option files of the original have; it is written out only where it was set."""

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        return {**handler(core_schema), 'deprecated': True}


def has_mark(field: FieldInfo, mark: type) -> bool:
    """Return whether the annotation of a field has a mark of this class."""
    return any(isinstance(item, mark) for item in field.metadata)


def plain(value: Any, recipe_only: bool = False) -> Any:
    """Return options as plain values: defaults included, the original's own keys only where set.

    Args:
        value: a section, a block, or a value of one.
        recipe_only: omit the fields that are marked with :class:`NotRecipe`.
    """
    if isinstance(value, (Section, Block)):
        named = {name: plain(getattr(value, name), recipe_only) for name in type(value).model_fields}
        kept = {
            name: item
            for name, item in named.items()
            if (item is not None or not has_mark(type(value).model_fields[name], Legacy))
            and not (recipe_only and has_mark(type(value).model_fields[name], NotRecipe))
        }
        return {'type': kept.pop('type'), **value.arguments, **kept} if isinstance(value, Block) else kept
    if isinstance(value, dict):
        return {key: plain(item, recipe_only) for key, item in value.items()}
    return [plain(item, recipe_only) for item in value] if isinstance(value, tuple) else copy.deepcopy(value)


class Section(BaseModel):
    """A mapping that accepts known keys only; its objects are immutable."""

    model_config = ConfigDict(extra='forbid', frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Block(BaseModel):
    """``type:`` and the arguments of the class that it names.

    The signature of the class describes the arguments. They are checked and their paths expanded when the block is
    created. Fields of a subclass are keys beside the arguments.
    """

    model_config = ConfigDict(extra='allow', frozen=True, strict=True)

    kind: ClassVar[str]
    """Kind of the registry that knows the type."""
    supplied: ClassVar[tuple[str, ...]] = ()
    """Arguments that code passes, in addition to those of the registry."""

    type: str = Field(description='Registered name of the class; the other keys are its arguments.')

    @property
    def arguments(self) -> dict[str, Any]:
        """Return a copy of the arguments of the class."""
        return copy.deepcopy(self.model_extra or {})

    def as_dict(self) -> dict[str, Any]:
        """Return the block as plain values, as the registry's ``build`` takes it."""
        return dict(plain(self))

    @classmethod
    def names(cls) -> list[str]:
        """Return the types that an option file may use."""
        return REGISTRIES[cls.kind].names()

    @classmethod
    def own_fields(cls) -> dict[str, FieldInfo]:
        """Return the keys beside ``type`` and the arguments."""
        return {name: field for name, field in cls.model_fields.items() if name != 'type'}

    @model_validator(mode='wrap')
    @classmethod
    def _fit(cls, block: Any, make: Callable[[Any], Self], info: ValidationInfo) -> Self:
        if not isinstance(block, Mapping):
            return make(block)
        if (info.context or {}).get('mode') == 'reference':
            block = reference.apply(cls.kind, block, cls.own_fields())
        fitted, problems = REGISTRIES[cls.kind].check(block, cls.supplied, cls)
        name = fitted.get('type')
        if isinstance(name, str) and name in REGISTRIES[cls.kind] and name not in cls.names():
            hint = nearest(name, cls.names()) or f'; known: {", ".join(cls.names())}'
            problems = [Problem(('type',), f"'{name}' cannot be used in option files{hint}")]
        if not problems:
            fitted, problems = expand_block(cls.kind, fitted)
        if not problems:
            return make(fitted)
        summary = '; '.join(problem.message for problem in problems)
        raise PydanticCustomError('block', '{summary}', {'summary': summary, 'problems': problems})

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {'$block': cls.kind}


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
        """Return the types that an option file may use."""
        registry = REGISTRIES[cls.kind]
        return [name for name in registry.names() if inspect.isclass(registry.get(name))]


class OptimizerBlock(Block):
    """An optimizer."""

    kind = 'optimizer'


class SchedulerBlock(Block):
    """A learning-rate schedule."""

    kind = 'scheduler'
