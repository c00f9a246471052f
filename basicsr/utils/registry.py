"""Registries: option files name classes, registries find them.

A module registers its classes with a decorator and is found by its file name, ``archs/*_arch.py`` for networks. Modules
are imported at the first look-up. If one cannot be imported (an optional package is missing), only its own names are
unavailable, and the error for an unknown name mentions it.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel

from basicsr.utils.errors import ArgumentError, UnknownNameError, nearest
from basicsr.utils.problems import Problem, refuse
from basicsr.utils.signature import TypeBlock, fit_arguments, mark_of, parameters_of

T = TypeVar('T')
logger = logging.getLogger(__name__)


class OptionBlock(Protocol):
    """A ``type:`` block of checked options, such as ``options.network_g``."""

    def as_dict(self) -> dict[str, Any]:
        """Return ``type`` and the arguments."""


BlockLike: TypeAlias = Mapping[str, Any] | OptionBlock
"""Argument of builders: a mapping with ``type`` and arguments, or a block of an option file."""


def plain_block(options: BlockLike, kind: str) -> dict[str, Any]:
    """Return a block as a new mapping.

    Raises:
        ArgumentError: neither a mapping nor a block of options; ``kind`` is for the message.
    """
    block = options if isinstance(options, Mapping) else getattr(options, 'as_dict', lambda: None)()
    if not isinstance(block, Mapping):
        raise ArgumentError(f"a {kind} is described by a mapping with the key 'type', got {options!r}")
    return dict(block)


class Registry:
    """Names to classes (or functions) of one kind.

    Args:
        kind: kind of the entries, for messages ('network').
        package: package of the modules that register entries ('basicsr.archs').
        suffix: suffix of the names of these modules ('_arch'); every module of the package if empty.
        supplied: parameters of the entries that code passes, not the option file (an optimizer's ``params``).
    """

    def __init__(self, kind: str, package: str, suffix: str = '', supplied: Iterable[str] = ()) -> None:
        self.kind = kind
        self.supplied = tuple(supplied)
        self._package = package
        self._suffix = suffix
        self._entries: dict[str, Any] = {}
        self._broken: dict[str, str] = {}
        self._scanned = self._scanning = False
        self._lock = threading.RLock()

    def register(self, entry: T | None = None, *, name: str | None = None) -> Any:
        """Register a class or function: ``@REGISTRY.register()`` or ``REGISTRY.register(cls, name='x')``.

        Raises:
            KeyError: the name is taken by another entry.
        """

        def add(item: T) -> T:
            key = name or item.__name__  # type: ignore[attr-defined]
            if key in self._entries and self._entries[key] is not item:
                raise KeyError(f"the {self.kind} '{key}' is already registered by {self._entries[key].__module__}")
            self._entries[key] = item
            return item

        return add if entry is None else add(entry)

    def get(self, name: str) -> Any:
        """Return the entry with this name.

        Raises:
            UnknownNameError: no such entry; the message has the nearest name and the modules that cannot be imported.
        """
        self._scan()
        if not isinstance(name, str) or name not in self._entries:
            hint = nearest(str(name), self._entries) or f'; known: {", ".join(self.names())}'
            broken = ''.join(f'; {module} could not be imported ({why})' for module, why in self._broken.items())
            raise UnknownNameError(f"unknown {self.kind} '{name}'{hint}{broken}")
        return self._entries[name]

    def check(
        self, options: BlockLike, supplied: Iterable[str] = (), beside: type[BaseModel] | None = None
    ) -> tuple[dict[str, Any], list[Problem]]:
        """Check a block without building it; blocks inside it (``backbone:``) are checked as well.

        Args:
            options: ``type`` and the keyword arguments of the entry that it names.
            supplied: parameters that code passes, in addition to the registry's own ``supplied``.
            beside: the fields of this model are keys of the block as well, except ``type``.

        Returns:
            the block, with whole-number floats turned into ints where an int is expected, and all problems.
        """
        options = plain_block(options, self.kind)
        if 'type' not in options:
            return dict(options), [Problem((), f"a {self.kind} block needs the key 'type': {', '.join(self.names())}")]
        if not isinstance(options['type'], str):
            return dict(options), [Problem(('type',), f'expected the name of a {self.kind}, got {options["type"]!r}')]
        try:
            entry = self.get(options['type'])
        except UnknownNameError as error:
            return dict(options), [Problem(('type',), str(error))]
        supplied = (*self.supplied, *supplied)
        arguments = {key: value for key, value in options.items() if key != 'type'}
        fitted, problems = fit_arguments(entry, arguments, supplied, beside)
        for name, parameter in parameters_of(entry, supplied).items():
            mark = mark_of(parameter.annotation, TypeBlock)
            if mark is None or arguments.get(name) is None:
                continue
            inner = REGISTRIES[mark.kind]
            several = isinstance(arguments[name], list)
            blocks = arguments[name] if several else [arguments[name]]
            checked = list(blocks)
            for index, block in enumerate(blocks):
                if isinstance(block, Mapping):
                    checked[index], found = inner.check(block)
                    place = (name, index) if several else (name,)
                    problems += [Problem((*place, *p.location), p.message) for p in found]
            fitted[name] = checked if several else checked[0]
        return {'type': options['type'], **fitted}, problems

    def build(self, options: BlockLike, **supplied: Any) -> Any:
        """Build the entry that ``options['type']`` names with the other keys as keyword arguments.

        ``options`` is left unchanged. Values that YAML cannot express (modules, tensors) are passed unchecked.

        Raises:
            ArgumentError: ``type`` is missing, or the arguments do not fit; all problems at once.
            UnknownNameError: no entry has this name.
        """
        options = plain_block(options, self.kind)
        objects = {name: value for name, value in options.items() if not _is_plain(value)}
        plain = {name: value for name, value in options.items() if name not in objects}
        if 'type' in plain:
            self.get(plain['type'])
        block, problems = self.check(plain, (*supplied, *objects))
        refuse(f'{self.kind} {plain.get("type", "")}', problems)
        entry = self.get(block.pop('type'))
        return entry(**block, **objects, **supplied)

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._scan()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._scan()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _scan(self) -> None:
        with self._lock:  # re-entrant: a module that is imported may look something up
            if not self._scanned and not self._scanning:
                self._scanning = True
                self._import_modules()
                self._scanned, self._scanning = True, False

    def _import_modules(self) -> None:
        try:
            package = importlib.import_module(self._package)
        except ModuleNotFoundError as error:
            if error.name != self._package:
                raise
            return  # an empty package
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.endswith(self._suffix):
                continue
            try:
                importlib.import_module(f'{self._package}.{module.name}')
            except Exception as error:  # noqa: BLE001 - a missing shared library is an OSError, and so on
                self._broken[module.name] = f'{type(error).__name__}: {error}'
                logger.debug('%s.%s cannot be imported: %s', self._package, module.name, error)


def _is_plain(value: Any) -> bool:
    """Return whether YAML can express the value; modules and tensors come from code and are not checked."""
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    return value is None or isinstance(value, (bool, int, float, str))


ARCH_REGISTRY = Registry('network', 'basicsr.archs', '_arch')
DATASET_REGISTRY = Registry('dataset', 'basicsr.data', '_dataset')
LOSS_REGISTRY = Registry('loss', 'basicsr.losses', '_loss')
MASK_GENERATOR_REGISTRY = Registry('mask generator', 'basicsr.masks', '_generator')
METRIC_REGISTRY = Registry('metric', 'basicsr.metrics')
MODEL_REGISTRY = Registry('model', 'basicsr.models', '_model')
OPTIMIZER_REGISTRY = Registry('optimizer', 'basicsr.training', 'optimizers', supplied=('params',))
SCHEDULER_REGISTRY = Registry('scheduler', 'basicsr.training', 'schedules', supplied=('optimizer',))

REGISTRIES = {registry.kind: registry for registry in list(globals().values()) if isinstance(registry, Registry)}
