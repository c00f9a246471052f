"""Simulate one exposure of a camera: light and gray values, clipped highlights, sensor noise, JPEG."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from basicsr.data.generated_dataset import Ascending

Image = NDArray[np.uint8]
Planes = NDArray[np.float32]
_Quality = Annotated[int, Ge(1), Le(100)]
JpegRange = Annotated[tuple[_Quality, _Quality], Ascending]

_HIGHLIGHT = 0.6


def light_of(image: Image, gamma: float, gain: float = 1.0) -> Planes:
    """Return the linear light of gray values, with the highlights that the camera may have clipped.

    Args:
        image: (H, W, C) uint8.
        gamma: light = gray value^gamma.
        gain: factor of the light of white. Pixels whose mean light is at most 0.6 keep theirs; in between, the factor
            grows with the light. Values above 1 leave a bright streak when blurred, and are clipped afterwards
            (:func:`gray_of`).

    Returns:
        float32 of the same shape, from 0 to ``gain``.
    """
    table = ((np.arange(256) / 255) ** gamma).astype(np.float32)
    light = np.asarray(cv2.LUT(image, table), np.float32).reshape(image.shape)
    if gain != 1:
        above = np.clip((light.mean(axis=2, keepdims=True) - _HIGHLIGHT) / (1 - _HIGHLIGHT), 0, 1)
        light *= np.float32(gain) ** above
    return light


def gray_of(light: Planes, gamma: float) -> Planes:
    """Return the gray values of linear light: clipped at white, then raised to 1/gamma.

    Args:
        light: any shape, white = 1.
        gamma: gray value = light^(1/gamma).
    """
    gray = np.clip(light, 0, 1)
    return np.asarray(np.power(gray, np.float32(1 / gamma), out=gray))


def to_uint8(values: Planes) -> Image:
    """Round gray values (white = 1) to 8 bits."""
    levels = values * 255
    return np.clip(np.rint(levels, out=levels), 0, 255, out=levels).astype(np.uint8, order='C')


def add_noise(values: Planes, std: float, rng: np.random.Generator) -> Planes:
    """Add shot noise, whose variance grows with the gray value, and read noise, in equal parts at mid gray.

    Args:
        values: gray values, white = 1.
        std: standard deviation at mid gray.
        rng: random generator.
    """
    spread = std * np.sqrt(0.5 + np.clip(values, 0, 1))
    return np.asarray(values + spread * rng.standard_normal(values.shape, dtype=np.float32))


def as_jpeg(image: Image, quality: int) -> Image:
    """Compress an image as JPEG, with colours at half the resolution, and decode it.

    Args:
        image: (H, W, 3) RGB uint8.
        quality: 1 to 100.
    """
    encoded = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])
