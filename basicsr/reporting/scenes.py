"""Group images of one scene, which resemble each other and therefore count once in intervals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from basicsr.utils.errors import ReportError

ScenesBy: TypeAlias = Literal['auto', 'name', 'image']

FEWEST = 5
"""Scenes that ``auto`` needs; intervals of fewer mean nothing."""

_FRAME = re.compile(r'[-_ /](?:ap|gt[-_])?\d+$')


def scene_of(name: str) -> str:
    """Return the scene of an image: its name without the frame number, else its folder, else its name.

    Example:
        >>> [scene_of(name) for name in ('GOPR0384_11_00-000001', '000_00000012', 'clip/a', 'photo7')]
        ['GOPR0384_11_00', '000', 'clip', 'photo7']
    """
    scene = _FRAME.sub('', name)
    return scene if scene != name else name.rpartition('/')[0] or name


def scenes_of(names: Sequence[str], by: ScenesBy = 'auto') -> dict[str, list[int]]:
    """Return the positions of the images of each scene, in the order of the images.

    Args:
        names: of the images.
        by: ``name``, see :func:`scene_of`; ``image``, every image is a scene; ``auto``, by name if that gives at least
            five scenes.

    Raises:
        ReportError: no such way.
    """
    if by not in ('auto', 'name', 'image'):
        raise ReportError(f"scenes: expected auto, name or image, got '{by}'")
    named = _grouped(scene_of(name) for name in names)
    if by == 'image' or (by == 'auto' and len(named) < FEWEST):
        return _grouped(names)
    return named


def _grouped(keys: Iterable[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return found
