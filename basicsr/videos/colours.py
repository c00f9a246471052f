"""Convert video frames from planes of Y, Cb and Cr to RGB, and changes of RGB back to the planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.images.arrays import Array

UNSTATED = 2
"""The value of an unspecified matrix, primaries or transfer (ITU-T H.273)."""
TRANSFERS = {16: 'PQ', 18: 'HLG'}
"""The transfer characteristics of HDR."""

_WEIGHTS = {  # of red and blue in luma, by matrix coefficients of ITU-T H.273, table 4
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
_BT2020 = 9
_YCGCO = 8
MATRICES = frozenset({*_WEIGHTS, _YCGCO, UNSTATED})
"""Supported matrix coefficients."""


@dataclass(frozen=True)
class Colours:
    """Colour tags of a video, as in ITU-T H.273; 2 is unspecified.

    Args:
        matrix: matrix coefficients.
        primaries: colour primaries.
        transfer: transfer characteristics.
        range: 0 unspecified, 1 limited (16 to 235 of 8 bits), 2 full.
    """

    matrix: int = UNSTATED
    primaries: int = UNSTATED
    transfer: int = UNSTATED
    range: int = 0


@dataclass(frozen=True)
class PlaneLayout:
    """Layout of the planes of a frame.

    Args:
        bits: bits of a value.
        across: luma samples for each chroma sample in a row: 1 or 2.
        down: luma samples for each chroma sample in a column: 1 or 2.
        colours: colour tags of the video.
        height: rows of the frame; determine the matrix of untagged videos.
    """

    bits: int
    across: int
    down: int
    colours: Colours
    height: int

    @property
    def sampling(self) -> str:
        """``444``, ``422`` or ``420``, as in names of pixel formats."""
        return {(1, 1): '444', (2, 1): '422', (2, 2): '420'}[self.across, self.down]

    def matrix(self) -> NDArray[np.float64]:
        """Return the matrix (3, 3) from RGB in [0, 1] to Y in [0, 1], Cb and Cr in [-1/2, 1/2].

        Without a tag, the matrix is BT.2020 for BT.2020 primaries, else BT.709 from 720 rows on and BT.601 below, as in
        video players.
        """
        kind = self.colours.matrix
        if kind == _YCGCO:
            return np.array([[0.25, 0.5, 0.25], [-0.25, 0.5, -0.25], [0.5, 0, -0.5]])
        if kind == UNSTATED:
            kind = _BT2020 if self.colours.primaries == _BT2020 else 1 if self.height >= 720 else 6
        red, blue = _WEIGHTS[kind]
        luma = np.array([red, 1 - red - blue, blue])
        rows = [luma, (np.array([0, 0, 1]) - luma) / (2 - 2 * blue), (np.array([1, 0, 0]) - luma) / (2 - 2 * red)]
        return np.stack(rows)

    def scale(self) -> NDArray[np.float64]:
        """Return factor and offset (3, 2) from Y, Cb and Cr of :meth:`matrix` to the values of planes."""
        half = 2.0 ** (self.bits - 1)
        if self.colours.range == 2:
            top = 2.0**self.bits - 1
            return np.array([[top, 0], [top, half], [top, half]])
        step = 2.0 ** (self.bits - 8)
        return np.array([[219 * step, 16 * step], [224 * step, half], [224 * step, half]])


def rgb_of(planes: Sequence[Array], layout: PlaneLayout) -> Array:
    """Convert planes to RGB.

    Args:
        planes: Y (H, W), Cb and Cr (H / down, W / across), of integers.
        layout: layout of the planes.

    Returns:
        (H, W, 3) float32 RGB, clipped to [0, 1].
    """
    size = planes[0].shape
    values = cv2.merge([planes[0].astype(np.float32), *(_enlarged(plane, size, layout) for plane in planes[1:])])
    scale = layout.scale()
    back = np.linalg.inv(scale[:, :1] * layout.matrix())
    rgb = cv2.transform(values, np.hstack([back, -back @ scale[:, 1:]]).astype(np.float32))
    return np.clip(rgb, 0, 1, out=rgb)


def planes_from_rgb(rgb: Array, layout: PlaneLayout) -> list[Array]:
    """Convert RGB to planes, the inverse of :func:`rgb_of`."""
    height, width = rgb.shape[:2]
    chroma = -(-height // layout.down), -(-width // layout.across)
    sizes = (height, width), chroma, chroma
    black = [np.full(size, offset) for size, (_, offset) in zip(sizes, layout.scale(), strict=True)]
    return with_change(black, np.zeros_like(rgb), rgb, layout)


def with_change(planes: Sequence[Array], before: Array, after: Array, layout: PlaneLayout) -> list[Array]:
    """Apply a change in RGB to planes; unchanged areas stay the same bit by bit.

    Adding the difference keeps what RGB cannot hold: colours out of gamut, and chroma at its own resolution.

    Args:
        planes: see :func:`rgb_of`.
        before: (H, W, 3) float32, the return value of :func:`rgb_of`.
        after: the changed image, of the same kind.
        layout: layout of the planes.

    Returns:
        planes of the same shapes; uint8 for 8 bits, else uint16.
    """
    change = cv2.transform((after - before).astype(np.float32), layout.matrix().astype(np.float32))
    factors = layout.scale()[:, 0].astype(np.float32)
    parts = [
        factor * (change[..., index] if index == 0 else _reduced(change[..., index], planes[index].shape, layout))
        for index, factor in enumerate(factors)
    ]
    return at_bits([plane + part for plane, part in zip(planes, parts, strict=True)], layout.bits, layout.bits)


def at_bits(planes: Sequence[Array], bits: int, wanted: int) -> list[Array]:
    """Convert planes to a different number of bits; uint8 for 8 bits, else uint16."""
    kind = np.uint8 if wanted == 8 else np.uint16
    if bits == wanted and all(plane.dtype == kind for plane in planes):
        return list(planes)
    factor = np.float32(2.0 ** (wanted - bits))
    return [np.clip(np.rint(plane * factor), 0, 2**wanted - 1).astype(kind) for plane in planes]


def _enlarged(plane: Array, size: tuple[int, ...], layout: PlaneLayout) -> Array:
    """Interpolate chroma at every pixel, (H, W) float32."""
    plane = plane.astype(np.float32)
    if layout.across == layout.down == 1:
        return plane
    moved = np.array([[1 / layout.across, 0, _shift(layout)], [0, 1 / layout.down, 0.5 / layout.down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(plane, moved, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _shift(layout: PlaneLayout) -> float:
    """Return the position of the first pixel between chroma samples: before the first in full range, else at it."""
    return 0.5 / layout.across - 0.5 if layout.colours.range == 2 else 0.0


def _reduced(change: Array, shape: tuple[int, ...], layout: PlaneLayout) -> Array:
    """Average a change at every pixel to chroma samples, the transpose of :func:`_enlarged` with sum 1."""
    if layout.across == layout.down == 1:
        return change
    missing = shape[0] * layout.down - change.shape[0], shape[1] * layout.across - change.shape[1]
    change = np.pad(change, ((0, missing[0]), (0, missing[1])), 'edge')
    if layout.down == 2:
        change = (change[::2] + change[1::2]) / 2
    if layout.across == 2 and layout.colours.range == 2:
        return (change[:, ::2] + change[:, 1::2]) / 2
    if layout.across == 2:
        left = np.concatenate([change[:, :1], change[:, 1:-1:2]], 1)
        return left / 4 + change[:, ::2] / 2 + change[:, 1::2] / 4
    return change
