"""The part of an image that the analysis network uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from basicsr.utils.errors import ArgumentError, ShapeError

AnalysisCrop = Literal['whole', 'reference']

_ACCEPTED = (
    '256x256 240x368 354x640 368x640 384x540 408x608 408x688 480x368 480x732 492x704 512x512 512x448 512x672 512x768 '
    '528x638 528x558 528x780 540x800 558x864 576x688 576x800 592x462 592x800 608x800 608x1012 624x414 624x448 624x576 '
    '624x800 656x1012 672x800 672x1012 700x1012 704x608 720x958 720x1072 732x1080 750x908 800x800 800x968 810x942'
)
REFERENCE_SIZES = tuple((int(height), int(width)) for height, width in (size.split('x') for size in _ACCEPTED.split()))
"""The crop sizes of the original, which its GPU transform supported; height and width may also be swapped."""


def limit_of(max_input_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Return a size limit as (height, width); one number is a square.

    Raises:
        ArgumentError: the limit is not one or two positive numbers.
    """
    if max_input_size is None:
        return None
    numbers = [max_input_size] if isinstance(max_input_size, int) else list(max_input_size)
    if len(numbers) not in (1, 2) or min(numbers) < 1:
        raise ArgumentError(f'max_input_size must be one or two positive numbers (height, width), got {max_input_size}')
    return numbers[0], numbers[-1]


def analysis_window(
    height: int, width: int, limit: tuple[int, int] | None = None, crop: AnalysisCrop = 'whole'
) -> tuple[int, int, int, int]:
    """Return the part of a padded image that the analysis network uses.

    Args:
        height: of the image.
        width: of the image.
        limit: largest height and width; ``reference`` uses their product only.
        crop: ``whole`` uses the whole image up to the limit, ``reference`` the best fitting size that the original
            accepts.

    Returns:
        top, left, height, width of a centred window.

    Raises:
        ShapeError: no accepted size fits.
    """
    if crop == 'whole':
        tall, wide = (height, width) if limit is None else (min(height, limit[0]), min(width, limit[1]))
    else:
        tall, wide = _reference_size(height, width, limit)
    return (height - tall) // 2, (width - wide) // 2, tall, wide


def _reference_size(height: int, width: int, limit: tuple[int, int] | None) -> tuple[int, int]:
    sizes = [*REFERENCE_SIZES, *((w, h) for h, w in REFERENCE_SIZES)]
    fitting = [
        (h, w) for h, w in sizes if h <= height and w <= width and (limit is None or h * w <= limit[0] * limit[1])
    ]
    if not fitting:
        bound = '' if limit is None else f' with at most {limit[0]}×{limit[1]} pixels'
        raise ShapeError(
            f'none of the original sizes fits into {height}×{width} pixels{bound}; the smallest are '
            '240×368, 368×240 and 256×256. Use analysis_crop: whole'
        )
    return min(fitting, key=lambda size: ((height - size[0]) / height) ** 2 + ((width - size[1]) / width) ** 2)
