"""Training crops: which windows of an image they are, and what they are called (the original's rules)."""

from __future__ import annotations

from basicsr.utils.errors import ArgumentError


def crop_windows(
    height: int, width: int, size: int = 512, step: int = 256, threshold: int = 0
) -> list[tuple[int, int, int, int]]:
    """The windows that cover an image, row by row.

    Windows start every ``step`` pixels; one more ends at the border if more than ``threshold`` pixels would be left
    out. An image smaller than a window is one window as far as it goes.

    Args:
        height, width: of the image, in pixels.
        size: side of a window.
        step: between the starts of neighbours.
        threshold: rows or columns that may be left out at the end.

    Returns:
        (top, left, height, width) of each window.

    Raises:
        ArgumentError: a size or step below 1, or a negative threshold.

    >>> crop_windows(720, 600)
    [(0, 0, 512, 512), (0, 88, 512, 512), (208, 0, 512, 512), (208, 88, 512, 512)]
    """
    if min(height, width, size, step) < 1 or threshold < 0:
        raise ArgumentError(
            f'sizes and steps are at least 1 and the threshold at least 0: image {height}x{width}, crops of {size} '
            f'every {step}, threshold {threshold}'
        )
    rows, columns = _starts(height, size, step, threshold), _starts(width, size, step, threshold)
    return [(top, left, min(size, height), min(size, width)) for top in rows for left in columns]


def crop_name(stem: str, number: int) -> str:
    """The name of the crop with this number, counted from 0: ``<stem>_s001`` is the first."""
    return f'{stem}_s{number + 1:03d}'


def _starts(length: int, size: int, step: int, threshold: int) -> list[int]:
    if length <= size:
        return [0]
    starts = list(range(0, length - size + 1, step))
    if length - size - starts[-1] > threshold:
        starts.append(length - size)
    return starts
