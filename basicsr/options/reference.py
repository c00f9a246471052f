"""The one table of the differences from the original that ``mode: reference`` undoes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from basicsr.utils.registry import REGISTRIES
from basicsr.utils.signature import parameters_of


@dataclass(frozen=True)
class Switch:
    """An argument that reference mode sets in blocks whose class has it and that do not set it themselves."""

    kind: str
    argument: str
    value: Any
    why: str


TOTAL_BATCH = 32
"""Batch size of the original's recipe, which its option files do not state."""

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
        "the original draws crops and flips from Python's `random`, and rotates region masks incorrectly in half "
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
        'the original assumes floats in [0, 1] for images with a maximum of at most 1, and 8-bit images otherwise',
    ),
)


def apply(kind: str, block: Mapping[str, Any], beside: Iterable[str] = ()) -> dict[str, Any]:
    """Return the ``type:`` block as reference mode sets it; the argument is left unchanged.

    Args:
        kind: kind of its registry.
        block: ``type`` and the arguments.
        beside: further keys that the block may have.
    """
    registry, name = REGISTRIES[kind], block.get('type')
    changed = dict(block)
    if isinstance(name, str) and name in registry:
        known = {*parameters_of(registry.get(name), registry.supplied), *beside}
        for switch in SWITCHES:
            if switch.kind == kind and switch.argument in known:
                changed.setdefault(switch.argument, switch.value)
    return changed
