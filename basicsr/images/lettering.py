"""Draw text of any script; letters without a glyph are transliterated, or replaced by their code points."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_MISSING = '\ue000'  # a code point without a glyph in any font
_WIDE = 10_000
_HERSHEY = 30  # height of the letters of OpenCV's Hershey font at scale 1, in pixels


def write_text(image: NDArray[np.uint8], text: str, left: int, top: int, size: int, colour: tuple[int, ...]) -> None:
    """Draw one line of text into an image; it is cut off at the borders.

    Args:
        image: (H, W, 3) uint8; changed in place.
        text: any text; see :func:`printable`.
        left: left edge, in pixels.
        top: top edge of the line, in pixels.
        size: height of the letters in pixels.
        colour: one value for each channel of the image.
    """
    drawn, text = np.ascontiguousarray(image), printable(text)
    if _has_fonts() and text:
        cv2.putText(drawn, text, (left, top + size), colour, _face(), size)
    elif text:
        cv2.putText(drawn, text, (left, top + size), cv2.FONT_HERSHEY_SIMPLEX, size / _HERSHEY, colour, 1, cv2.LINE_AA)
    image[:] = drawn


def text_width(text: str, size: int) -> int:
    """Return the width of a line in pixels."""
    text = printable(text)
    if not text:
        return 0
    if _has_fonts():
        return int(cv2.getTextSize((_WIDE, _WIDE), text, (0, 0), _face(), size)[2])
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / _HERSHEY, 1)[0][0])


def shortened(text: str, width: int, size: int) -> str:
    """Return the text, with its middle cut out if it is wider than ``width`` pixels."""
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        shorter = f'{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}'
        if text_width(shorter, size) <= width:
            return shorter
    return text[:1]


def printable(text: str) -> str:
    """Replace letters that cannot be drawn: ``u`` for ``ü``, else ``[U+1F600]``."""
    return ''.join(_drawable(letter) for letter in unicodedata.normalize('NFC', text))


@lru_cache(maxsize=4096)
def _drawable(letter: str) -> str:
    if ' ' <= letter <= '~':
        return letter
    if _has_fonts() and letter.isprintable() and not np.array_equal(_glyph(letter), _glyph(_MISSING)):
        return letter
    plain = ''.join(part for part in unicodedata.normalize('NFKD', letter.replace('ß', 'ss')) if ' ' <= part <= '~')
    return plain or f'[U+{ord(letter):04X}]'


def _glyph(letter: str) -> NDArray[np.uint8]:
    image = np.zeros((40, 60, 3), np.uint8)
    cv2.putText(image, letter, (5, 30), (255, 255, 255), _face(), 20)
    return image


def _has_fonts() -> bool:
    """Whether this OpenCV includes fonts of many scripts (from version 5)."""
    return hasattr(cv2, 'FontFace')


@lru_cache(maxsize=1)
def _face() -> Any:
    return cv2.FontFace('uni')
