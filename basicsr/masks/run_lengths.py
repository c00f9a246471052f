"""Decode masks from run lengths (RLE of COCO), as Segment Anything and SA-1B store them in JSON files."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError

MAX_MASK_PIXELS = 2**26
"""Maximum size of a mask whose image is unknown: a short run-length code may claim any size."""


def mask_of_runs(code: Any, name: str, size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Decode a run-length code: alternating runs of 0 and 1 down the columns, beginning with 0.

    Args:
        code: ``{'size': [H, W], 'counts': ...}``; the counts are a list of integers, or text as in pycocotools.
        name: name of the mask, for error messages.
        size: required (H, W); None for any up to ``MAX_MASK_PIXELS``.

    Returns:
        boolean (H, W).

    Raises:
        MaskError: not a run-length code, of a different size, too large, or the runs do not add up to H times W.
    """
    if not isinstance(code, dict) or 'counts' not in code or not isinstance(code.get('size'), list):
        raise MaskError(f"{name}: not a run-length code (an object with 'size' and 'counts')")
    height, width = checked_size(code['size'], name, size)
    counts = code['counts']
    runs = _runs_of_text(counts, name) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise MaskError(f'{name}: its run lengths must be non-negative integers')
    if sum(runs) != height * width:
        raise MaskError(f'{name}: its run lengths add up to {sum(runs)}, not to {height}×{width} = {height * width}')
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(width, height).T)


def checked_size(stated: list[Any], name: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """Check the size (H, W) that a file states, and return it.

    Args:
        stated: the size.
        name: for error messages.
        size: required size; None for any up to ``MAX_MASK_PIXELS``.

    Raises:
        MaskError: not two positive integers, too large, or a different size.
    """
    if len(stated) != 2 or not all(type(side) is int and side > 0 for side in stated):
        raise MaskError(f'{name}: its size {stated!r} is not (H, W)')
    height, width = stated
    if size is not None and (height, width) != tuple(size):
        raise MaskError(f'{name}: has {(height, width)} pixels (H, W), the image {tuple(size)}')
    if size is None and height * width > MAX_MASK_PIXELS:
        raise MaskError(f'{name}: {height}×{width} pixels are too many for a mask without its image')
    return height, width


def _runs_of_text(text: str, name: str) -> list[int]:
    """Decode run lengths of COCO's text: groups of five bits, lowest first; from the third on, differences."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise MaskError(f'{name}: {letter!r} is not valid in the text of run lengths')
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
