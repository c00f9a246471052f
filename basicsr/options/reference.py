"""What ``mode: reference`` switches: the one table of where we depart from the original, and how to go back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import parameters_of


@dataclass(frozen=True)
class Switch:
    """An argument that blocks get in reference mode, where their class has it and they do not set it."""

    kind: str
    argument: str
    value: Any
    why: str


TOTAL_BATCH = 32
"""Samples in a step of the original's recipe, whose option files do not say it."""

SWITCHES = (
    Switch(
        'network',
        'mask_value',
        1 / 255,
        'the original divides boolean masks by 255 before the network sees them; its published weights expect that',
    ),
    Switch(
        'dataset',
        'reference',
        True,
        "the original draws crops and flips from Python's `random`, and turns region masks the wrong way in half "
        'of the training samples',
    ),
    Switch(
        'dataset',
        'sampler',
        'reference',
        'the original seeds the order with the epoch alone, and it depends on the number of processes',
    ),
    Switch(
        'metric',
        'data_range',
        'guess',
        'the original takes images whose maximum is at most 1 for floats in [0, 1], others for 8-bit images',
    ),
)


def apply(kind: str, block: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
    """The ``type:`` block as reference mode has it; the argument stays as it is.

    Args:
        kind: of its registry.
        block: ``type`` and arguments.
        beside: keys of the block that are not arguments of its class.
    """
    registry, name = REGISTRIES[kind], block.get('type')
    changed = dict(block)
    if isinstance(name, str) and name in registry:
        known = {*parameters_of(registry.get(name), registry.supplied), *beside}
        for switch in SWITCHES:
            if switch.kind == kind and switch.argument in known:
                changed.setdefault(switch.argument, switch.value)
    return changed
