"""Check the arguments of a ``type:`` block against the signature of the class it names.

The signature is the only description of a block: the names of the parameters are the keys, those without a default are
required, and annotations are the types of the values. pydantic checks the values.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticCustomError

from basicsr.utils.errors import nearest
from basicsr.utils.problems import Problem, existing_part, mismatches, refuse, value_at

Share = Annotated[float, Ge(0), Le(1)]
"""A fraction, 0 to 1."""
Positive = Annotated[int, Ge(1)]
NotNegative = Annotated[int, Ge(0)]

STRICT = ConfigDict(extra='forbid', strict=True, arbitrary_types_allowed=True, protected_namespaces=())
_FIELD = 'argument_'  # pydantic reserves names such as "copy" and "_x" for itself


def contradiction(text: str) -> PydanticCustomError:
    """Return the error of a validator for keys that do not fit each other."""
    return PydanticCustomError('needs', '{text}', {'text': text})


class Mark:
    """Base class of marks in annotations."""

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the JSON schema of the value, with the mark."""
        schema = handler(core_schema)
        for part in schema.get('anyOf', [schema]):
            self.note(part)
        return schema

    def note(self, schema: dict[str, Any]) -> None:
        """Change the JSON schema of the value, or of each alternative; in place."""


@dataclass(frozen=True)
class TypeBlock(Mark):
    """Marks a parameter that is itself a ``type:`` block (or a list of them).

    Used as ``backbone: Annotated[dict, TypeBlock('network')]``.
    """

    kind: str

    def note(self, schema: dict[str, Any]) -> None:
        """Refer to the blocks of this kind."""
        if schema.get('type') == 'object':
            schema.clear()
            schema['$block'] = self.kind
        elif schema.get('type') == 'array':
            schema['items'] = {'$block': self.kind}


@dataclass(frozen=True)
class PathMark(Mark):
    """Marks a value that names a file or folder, which must exist when something is run.

    Args:
        kind: 'file' or 'folder'.
        unless: (argument, value) with which a missing one is created.
    """

    kind: Literal['file', 'folder']
    unless: tuple[str, Any] | None = None

    def note(self, schema: dict[str, Any]) -> None:
        """Set the format of the text."""
        if schema.get('type') == 'string':
            schema['format'] = self.kind


Folder = Annotated[str, PathMark('folder')]
File = Annotated[str, PathMark('file')]


_Mark = TypeVar('_Mark', 'TypeBlock', 'PathMark')


def parameters_of(factory: Callable[..., Any], supplied: Iterable[str] = ()) -> dict[str, inspect.Parameter]:
    """Return the parameters that an option file may set, with resolved annotations.

    Where a constructor takes ``**arguments``, the parameters of its base class follow.

    Args:
        factory: class or function.
        supplied: names of parameters to omit because code passes them.
    """
    keep: dict[str, inspect.Parameter] = {}
    constructors = [vars(base)['__init__'] for base in getattr(factory, '__mro__', ()) if '__init__' in vars(base)]
    for place, target in enumerate(constructors or [factory]):
        bound = types.MethodType(target, factory) if place else factory
        parameters = inspect.signature(bound).parameters.values()
        try:
            hints = typing.get_type_hints(target, include_extras=True)
        except (NameError, TypeError):  # annotations of foreign classes may name things that are not importable
            hints = {}
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                annotation = hints.get(parameter.name, parameter.empty)
                keep.setdefault(parameter.name, parameter.replace(annotation=annotation))
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return {name: parameter for name, parameter in keep.items() if name not in supplied}


@functools.cache
def arguments_model(
    factory: Callable[..., Any], supplied: tuple[str, ...] = (), beside: type[BaseModel] | None = None
) -> type[BaseModel]:
    """Return the pydantic model of the arguments that an option file may set; aliases are the names of the arguments.

    Args:
        factory: class or function.
        supplied: parameters that code passes (an optimizer's ``params``).
        beside: the fields of this model are keys of the block as well, except ``type``.
    """
    fields: dict[str, Any] = {}
    for name, parameter in parameters_of(factory, supplied).items():
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[_FIELD + name] = (_checkable(parameter.annotation), Field(default, alias=name))
    for name, field in beside.model_fields.items() if beside is not None else ():
        if name != 'type':
            fields[name] = (field.annotation, field)
    return create_model(factory.__name__, __config__=STRICT, **fields)


def _checkable(annotation: Any) -> Any:
    """Return the annotation, or Any for types of another library that pydantic does not know: its class checks them."""
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        TypeAdapter(annotation, config=STRICT)
    except PydanticSchemaGenerationError:
        return Any
    return annotation


def mark_of(annotation: Any, kind: type[_Mark]) -> _Mark | None:
    """Return the mark of an annotation or a part of it: Python 3.10 wraps those with the default None in Optional."""
    for mark in getattr(annotation, '__metadata__', ()):
        if isinstance(mark, kind):
            return mark
    found = [mark for part in typing.get_args(annotation) if (mark := mark_of(part, kind)) is not None]
    return found[0] if found else None


Model = TypeVar('Model', bound=BaseModel)


def validate_values(
    model: type[Model], data: Mapping[str, Any], context: Mapping[str, Any] | None = None
) -> tuple[Model | None, dict[str, Any], list[Any]]:
    """Check plain values as JSON would be: a list fits a tuple, an int fits a float, text never fits a number.

    Whole-number floats are converted where an int is expected, because ``2e5`` is a float to YAML.

    Args:
        model: describes the values.
        data: plain values as read from YAML; left unchanged.
        context: for validators.

    Returns:
        the object (None if there are mistakes), the values with these ints, and the mistakes in pydantic's form.
    """
    fitted, mistakes = dict(data), []
    for _ in range(2):
        try:
            text = json.dumps({str(key): value for key, value in fitted.items()}, default=_plain)
            return model.model_validate_json(text, context=context), fitted, []
        except ValidationError as error:
            mistakes = error.errors(include_url=False)
        places = {existing_part(m['loc'], fitted) for m in mistakes if m['type'] in ('int_type', 'literal_error')}
        whole = [place for place in places if place and _is_whole(value_at(fitted, place))]
        if not whole:
            break
        fitted = copy.deepcopy(fitted)
        for *above, key in whole:
            value_at(fitted, above)[key] = int(value_at(fitted, (*above, key)))
    return None, fitted, mistakes


def _plain(value: Any) -> Any:
    """Return a number of numpy as one of Python, and anything else as text."""
    return value.item() if getattr(value, 'ndim', None) == 0 else str(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def fit_arguments(
    factory: Callable[..., Any],
    arguments: Mapping[str, Any],
    supplied: Iterable[str] = (),
    beside: type[BaseModel] | None = None,
) -> tuple[dict[str, Any], list[Problem]]:
    """Check ``arguments`` against ``factory``'s signature without calling it.

    Args:
        factory: class or function that the arguments are for.
        arguments: plain values as read from YAML.
        supplied: see :func:`arguments_model`.
        beside: see :func:`arguments_model`.

    Returns:
        the arguments, with ints as :func:`validate` converts them, and all problems.
    """
    model, name = arguments_model(factory, tuple(supplied), beside), factory.__name__
    keys = {field.alias or key: field.default for key, field in model.model_fields.items()}
    _, fitted, mistakes = validate_values(model, arguments)
    problems, others = [], []
    for mistake in mistakes:
        place = mistake['loc']
        if mistake['type'] == 'extra_forbidden' and len(place) == 1:
            hint = nearest(str(place[0]), keys) or f'; it takes {", ".join(keys) or "no arguments"}'
            problems.append(Problem(place, f"unknown key '{place[0]}' of {name}{hint}"))
        elif mistake['type'] == 'missing' and len(place) == 1:
            problems.append(Problem((), f"{name} needs the key '{place[0]}'"))
        elif mistake['type'] not in ('needs_python_object', 'is_instance_of'):
            others.append(mistake)
    return fitted, problems + mismatches(others, arguments, lambda place: keys.get(str(place[0])))


def require_arguments(factory: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check the arguments of a call from Python.

    Args:
        factory: class or function that was called.
        given: its arguments; others are ignored, so that it may pass ``locals()``.

    Raises:
        ArgumentError: they do not fit its signature; the message lists all problems.
    """
    known = parameters_of(factory)
    refuse(factory.__name__, fit_arguments(factory, {name: given[name] for name in known})[1])
