"""Recognise a network by the names and shapes of its parameters. Each network registers a function in its own file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from basicsr.utils.errors import WeightsError, some_of
from basicsr.utils.registry import ARCH_REGISTRY

PlainBlock = dict[str, Any]


class ParameterShapes(dict[str, tuple[int, ...]]):
    """The shapes of a state dict by name."""

    def of(self, key: str, dims: int = 4) -> tuple[int, ...]:
        """Return the shape of a parameter.

        Raises:
            WeightsError: the parameter is missing or has a different number of dimensions.
        """
        if len(self.get(key, ())) != dims:
            found = f'{key} is {self[key]}' if key in self else f'{some_of(list(self), 6)}; {key} is missing'
            raise WeightsError(f'unknown network with the parameters {found}')
        return self[key]

    def count(self, pattern: str) -> int:
        """Count the different numbers at ``#`` in names that start with ``pattern``."""
        expression = re.compile(re.escape(pattern).replace(r'\#', r'(\d+)'))
        return len({match[1] for key in self if (match := expression.match(key))})

    def below(self, prefix: str) -> ParameterShapes:
        """Return the parameters of a part, by their names in it."""
        part = {key.removeprefix(prefix): shape for key, shape in self.items() if key.startswith(prefix)}
        return ParameterShapes(part)


Recogniser = Callable[[ParameterShapes, 'int | None'], PlainBlock]
_RECOGNISERS: dict[tuple[str, ...], tuple[str, Recogniser]] = {}


def recognised_by(name: str, *keys: str) -> Callable[[Recogniser], Recogniser]:
    """Register a function that derives the arguments of a network from its parameters.

    The function gets the shapes of the parameters, and the number of channels of the mask prior in front of the
    network (0 for none, None if unknown).

    Args:
        name: registered name of the network.
        keys: parameters that identify the network. If several networks match, the one with the most keys is used.
    """

    def add(recogniser: Recogniser) -> Recogniser:
        if keys in _RECOGNISERS:
            raise KeyError(f'{name} and {_RECOGNISERS[keys][0]} are recognised by the same parameters')
        _RECOGNISERS[keys] = name, recogniser
        return recogniser

    return add


def recognise(shapes: ParameterShapes, prior: int | None = 0) -> PlainBlock:
    """Return the ``type`` and arguments of a network; they are not verified.

    Args:
        shapes: of its parameters.
        prior: channels of the mask prior in front of it; None if unknown.

    Raises:
        WeightsError: no network has these parameters.
    """
    names = ARCH_REGISTRY.names()  # imports the networks
    for keys in sorted(_RECOGNISERS, key=len, reverse=True):
        if all(key in shapes for key in keys):
            name, recogniser = _RECOGNISERS[keys]
            return {'type': name, **recogniser(shapes, prior)}
    found = f'{some_of(list(shapes), 6)} ({len(shapes)} in all)' if shapes else 'none'
    known = ', '.join(names)
    raise WeightsError(f'unknown network with the parameters {found}; use an option file. Known networks: {known}')


def prior_channels(image: int, inputs: int, prior: int | None) -> PlainBlock:
    """Return ``prior_channels`` for inputs in addition to the image, unless they are a known prior."""
    return {} if prior or inputs == image else {'prior_channels': inputs - image}


def shared_factor(pairs: Iterable[tuple[int, int]], published: float) -> float:
    """Return the factor f with ``int(channels * f) == hidden`` for all (channels, hidden).

    This is the published factor if it fits, else the shortest decimal.

    Raises:
        WeightsError: there is none.
    """
    sizes = sorted(set(pairs))
    lowest: float = max((hidden / max(channels, 1) for channels, hidden in sizes), default=published)
    candidates = [math.ceil(lowest * 10.0**digits) / 10.0**digits for digits in range(16)]
    for factor in (published, *candidates, lowest):
        if all(int(channels * factor) == hidden for channels, hidden in sizes):
            return factor
    raise WeightsError(f'unknown network with hidden layers of these sizes: {sizes}')


def odd_factors(number: int) -> list[tuple[int, int]]:
    """Return all pairs of odd numbers with this product, smaller one first, the closest pair last."""
    return [(low, number // low) for low in range(1, math.isqrt(number) + 1, 2) if number % low == 0 and number % 2]
