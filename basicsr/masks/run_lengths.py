"""Masks as run lengths (COCO's RLE), which Segment Anything and SA-1B store in JSON files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError

MOST_PIXELS = 2**26
"""Of a mask whose image is not known: a few letters of a run-length code may claim any size."""


def mask_of_runs(code: Any, name: str, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """The mask of a run-length code: runs of 0 and 1 in turn, down the columns, a run of 0 first.

    Args:
        code: ``{'size': [H, W], 'counts': ...}``; the counts are a list of integers, or the text that pycocotools
            makes of them.
        name: of the mask, for messages.
        size: (H, W) that it must have; None takes any up to ``MOST_PIXELS``.

    Returns:
        boolean (H, W).

    Raises:
        MaskError: no run-length code, of another size, too large, or one that does not add up to H times W.
    """
    if not isinstance(code, dict) or 'counts' not in code or not isinstance(code.get('size'), list):
        raise MaskError(f"{name}: no run-length code (an object with 'size' and 'counts')")
    height, width = checked_size(code['size'], name, size)
    counts = code['counts']
    runs = _runs_of_text(counts, name) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise MaskError(f'{name}: its run lengths are not all integers from 0')
    if sum(runs) != height * width:
        raise MaskError(f'{name}: its run lengths add up to {sum(runs)}, not to {height}×{width} = {height * width}')
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(width, height).T)


def checked_size(stated: list[Any], name: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W) that a file states.

    Args:
        stated: what it states.
        name: for messages.
        size: what it must be; None takes any up to ``MOST_PIXELS``.

    Raises:
        MaskError: no two numbers, too large, or other ones.
    """
    if len(stated) != 2 or not all(type(side) is int and side > 0 for side in stated):
        raise MaskError(f'{name}: its size {stated!r} is no (H, W)')
    height, width = stated
    if size is not None and (height, width) != tuple(size):
        raise MaskError(f'{name}: has {(height, width)} pixels (H, W), the image {tuple(size)}')
    if size is None and height * width > MOST_PIXELS:
        raise MaskError(f'{name}: {height}×{width} pixels are too many without the image that they belong to')
    return height, width


def _runs_of_text(text: str, name: str) -> list[int]:
    """The run lengths of COCO's text: groups of five bits, the lowest first, each from the third on a difference."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise MaskError(f'{name}: {letter!r} does not belong into the text of run lengths')
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # the sign
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise MaskError(f'{name}: its text of run lengths is cut off')
    return runs
