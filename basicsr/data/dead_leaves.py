"""Dead leaves: generated images of coloured, textured shapes that occlude one another, as layers that can move.

Shapes with radii distributed as r^-3 give the statistics of natural images: edges at all scales, and occlusion
(Lee, Mumford and Huang, "Occlusion models for natural images", IJCV 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.exposure import Image, Planes
from basicsr.utils.errors import ArgumentError

TEXTURES = ('flat', 'gradient', 'stripes', 'noise', 'smooth noise')
_SHARES = (0.12, 0.2, 0.16, 0.12, 0.4)
SHAPES = ('disc', 'blob', 'rectangle', 'polygon')
_SHAPE_SHARES = (0.2, 0.25, 0.3, 0.25)
_TINTS = (0.03, 0.08, 0.18)
_TINT_SHARES = (0.4, 0.4, 0.2)
_Choice = TypeVar('_Choice')


@dataclass(frozen=True)
class Layer:
    """One object of a scene that moves as a whole.

    Args:
        image: (H, W, 3) RGB uint8.
        alpha: (H, W) float32, opacity, 0 to 1.
        top: row of its first pixel in the scene; may be negative.
        left: column of its first pixel in the scene; may be negative.
    """

    image: Image
    alpha: Planes
    top: int = 0
    left: int = 0


def region_map(layers: Sequence[Layer], size: tuple[int, int]) -> NDArray[np.int32]:
    """Return the visible layer of each pixel.

    Args:
        layers: from front to back.
        size: height and width of the scene.

    Returns:
        label map (1, H, W): 1 for the first layer, and so on; on soft edges the layer that contributes most; 0 where
        there is none.
    """
    labels = np.zeros(size, np.int32)
    most = np.zeros(size, np.float32)
    through = np.ones(size, np.float32)
    for number, layer in enumerate(layers, start=1):
        height, width = layer.alpha.shape
        rows = slice(max(0, layer.top), max(0, min(size[0], layer.top + height)))
        columns = slice(max(0, layer.left), max(0, min(size[1], layer.left + width)))
        own = slice(rows.start - layer.top, rows.stop - layer.top)
        alpha = layer.alpha[own, columns.start - layer.left : columns.stop - layer.left]
        if not alpha.size or rows.stop <= rows.start or columns.stop <= columns.start:
            continue
        seen = alpha * through[rows, columns]
        first = seen > most[rows, columns]
        labels[rows, columns][first] = number
        most[rows, columns][first] = seen[first]
        through[rows, columns] *= 1 - alpha
    return labels[None]


def dead_leaves(
    height: int,
    width: int,
    rng: np.random.Generator,
    margin: int = 0,
    radii: tuple[float, float] = (8.0, 64.0),
    coverage: float = 1.0,
    edge: float = 1.0,
) -> tuple[list[Layer], NDArray[np.int32]]:
    """Draw a scene of shapes in front of a textured background.

    Args:
        height: of the scene, in pixels.
        width: of the scene, in pixels.
        rng: random generator.
        margin: pixels of the scene beyond its borders, which can move in.
        radii: smallest and largest radius of the shapes, in pixels.
        coverage: area of all shapes, hidden parts included, as a multiple of the area of the scene.
        edge: width of the soft edges, in pixels: 1 is an edge averaged over each pixel, 0 a hard one.

    Returns:
        layers from front to back, the background last, and the label map (1, H, W) of what one sees: layer i is
        region i + 1, every pixel has one; on a soft edge the layer that contributes most.

    Raises:
        ArgumentError: sizes or radii that make no scene.
    """
    if height < 1 or width < 1 or margin < 0 or not 0 < radii[0] <= radii[1] or coverage < 0 or edge < 0:
        raise ArgumentError(
            f'invalid scene: {height}×{width} pixels, margin {margin}, radii {radii}, coverage {coverage}, edge {edge}'
        )
    tone = rng.uniform(0.25, 0.75)
    whole = height + 2 * margin, width + 2 * margin
    layers: list[Layer] = []
    area, wanted = 0.0, coverage * whole[0] * whole[1]
    while area < wanted:
        layer = _shape(whole, margin, _radius(rng, *radii), edge, tone, rng)
        area += float(layer.alpha.sum()) + 1
        layers.append(layer)
    background = _texture(*whole, tone, rng)
    layers.append(Layer(background, np.ones(whole, np.float32), -margin, -margin))
    return layers, region_map(layers, (height, width))


def _radius(rng: np.random.Generator, least: float, most: float) -> float:
    """Draw a radius between the two with density r^-3."""
    part = rng.random()
    return float((part * most**-2 + (1 - part) * least**-2) ** -0.5)


def _shape(
    whole: tuple[int, int], margin: int, radius: float, edge: float, tone: float, rng: np.random.Generator
) -> Layer:
    """Draw one shape, cut off at the edge of the scene and its margin."""
    centre = rng.uniform((0, 0), whole)
    reach = radius * 1.5 + 1
    start = np.maximum(np.floor(centre - reach), 0).astype(int)
    end = np.minimum(np.ceil(centre + reach).astype(int) + 1, whole)
    down = (np.arange(start[0], end[0]) - centre[0])[:, None]
    right = (np.arange(start[1], end[1]) - centre[1])[None]
    outside = _outside(down, right, radius, rng)
    alpha = (outside <= 0).astype(np.float32) if edge == 0 else np.clip(0.5 - outside / edge, 0, 1).astype(np.float32)
    rows, columns = (np.flatnonzero(alpha.any(axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)) if len(rows) else (slice(1), slice(1))
    alpha = np.ascontiguousarray(alpha[box])
    top, left = int(start[0] + (box[0].start or 0)), int(start[1] + (box[1].start or 0))
    return Layer(_texture(alpha.shape[0], alpha.shape[1], tone, rng), alpha, top - margin, left - margin)


def _outside(
    down: NDArray[np.float64], right: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the distance of each pixel from the edge of a random shape, in pixels, negative inside."""
    kind = _choose(SHAPES, _SHAPE_SHARES, rng)
    turn = rng.uniform(0, 2 * np.pi)
    if kind in ('disc', 'blob'):
        edge: float | NDArray[np.float64] = radius
        if kind == 'blob':
            angle = np.arctan2(down, right)
            waves = rng.normal(0, 0.15, 4) / np.arange(1, 5)
            phases = rng.uniform(0, 2 * np.pi, 4)
            bumps = [a * np.cos((k + 2) * angle + p) for k, (a, p) in enumerate(zip(waves, phases, strict=True))]
            edge = radius * np.clip(1 + sum(bumps), 0.4, 1.5)
        return np.asarray(np.hypot(down, right) - edge)
    if kind == 'rectangle':
        flat = radius * rng.uniform(0.15, 1)
        angles, limits = turn + np.arange(4) * np.pi / 2, np.array([radius, flat, radius, flat])
    else:
        sides = int(rng.integers(3, 8))
        angles = turn + (np.arange(sides) + rng.uniform(-0.2, 0.2, sides)) * 2 * np.pi / sides
        limits = radius * rng.uniform(0.6, 0.9, sides)
    planes = [down * np.sin(a) + right * np.cos(a) - limit for a, limit in zip(angles, limits, strict=True)]
    return np.asarray(np.maximum.reduce(planes))


def _colour(tone: float, rng: np.random.Generator) -> Planes:
    """Draw a mostly muted colour around the tone of the scene. RGB, white = 255."""
    light = np.clip(rng.normal(tone, 0.2), 0.02, 0.98)
    tint = rng.normal(0, _choose(_TINTS, _TINT_SHARES, rng), 3)
    return np.asarray(np.clip(255 * (light + tint - tint.mean()), 0, 255), np.float32)


def _texture(height: int, width: int, tone: float, rng: np.random.Generator) -> Image:
    """Draw a patch (H, W, 3) of one random texture between two colours."""
    kind = _choose(TEXTURES, _SHARES, rng)
    first = _colour(tone, rng)
    if kind == 'flat':
        return _image(np.broadcast_to(first, (height, width, 3)))
    if kind == 'noise':
        grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(3, 25))
        return _image(first + grain)
    contrast = np.float32(rng.uniform(0.3, 1))
    second = first + contrast * (_colour(tone, rng) - first)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = np.sin(turn) * np.arange(height)[:, None] + np.cos(turn) * np.arange(width)
    if kind == 'gradient':
        part = (ramp - ramp.min()) / max(np.ptp(ramp), 1.0)
    elif kind == 'stripes':
        wave = np.sin(2 * np.pi * ramp / rng.uniform(4, 24) + rng.uniform(0, 2 * np.pi))
        part = 0.5 + 0.5 * np.clip(wave * _choose((1.0, 3.0), (0.5, 0.5), rng), -1, 1)
    else:
        part = _smooth_noise(height, width, rng)
    return _image(first + part.astype(np.float32)[..., None] * (second - first))


def _smooth_noise(height: int, width: int, rng: np.random.Generator) -> Planes:
    """Draw noise of about 0 to 1 at all scales from 2 to 32 pixels, as in clouds, stone or leaves."""
    total = np.full((height, width), 0.5, np.float32)
    roughness = rng.uniform(0.4, 0.9)
    for octave in range(5):
        cell = 32 >> octave
        grid = rng.standard_normal((height // cell + 3, width // cell + 3), dtype=np.float32)
        fine = cv2.resize(grid, (grid.shape[1] * cell, grid.shape[0] * cell), interpolation=cv2.INTER_LINEAR)
        total += np.float32(0.3 * roughness**octave) * fine[cell : cell + height, cell : cell + width]
    return total


def _choose(choices: Sequence[_Choice], shares: Sequence[float], rng: np.random.Generator) -> _Choice:
    """Draw an item ten times as fast as ``rng.choice``."""
    drawn = rng.random()
    return next((item for item, end in zip(choices, accumulate(shares), strict=True) if drawn < end), choices[-1])


def _image(values: Planes) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
