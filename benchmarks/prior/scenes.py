"""Scenes with regions that move on their own: crops of photos and of DAVIS frames, blurred region by region."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.exposure import Image
from basicsr.data.motion import samples_for, shake_path, straight_path
from basicsr.data.region_blur import render_photo
from basicsr.data.sharp_sources import RecentImages, is_sharp, read_sharp
from basicsr.images.files import imread
from basicsr.masks.felzenszwalb_generator import FelzenszwalbGenerator
from basicsr.masks.label_map import compact
from basicsr.utils.errors import DataError

Labels = NDArray[np.uint8]

PHOTO_SIDE, FRAME_SIDE = 360, 288
"""Shorter sides of photos and frames in pixels: scaled down, they are sharp."""
REGIONS = (2, 6)
_ATTEMPTS = 200
_OBJECT_SHARE = (0.08, 0.75)
_PHOTO_REGIONS = FelzenszwalbGenerator(scale=300, min_size=500)


@dataclass(frozen=True)
class Motion:
    """How regions move.

    Args:
        lengths: range of path lengths in pixels, uniform.
        gamma: light = gray value^gamma.
        moving_share: fraction of regions that move; at least one does.
        straight_share: fraction of straight paths; the others are smooth curves.
        noise: largest standard deviation of the noise (white = 1).
    """

    lengths: tuple[float, float] = (2.0, 14.0)
    gamma: float = 2.2
    moving_share: float = 0.85
    straight_share: float = 0.5
    noise: float = 0.01


@dataclass(frozen=True)
class Source:
    """A photo, or a frame with the mask of its moving object."""

    path: Path
    scene: str
    mask: Path | None = None

    @property
    def kind(self) -> str:
        """Return 'frame' or 'photo'."""
        return 'photo' if self.mask is None else 'frame'


@dataclass(frozen=True)
class Crop:
    """A sharp crop with its margin, and the regions of all its pixels, from 1; the highest id is nearest."""

    image: Image
    labels: Labels


def sources_of(root: Path, split: str) -> list[Source]:
    """Read ``index.csv`` of a folder of training images.

    Args:
        root: folder with index.csv: columns file, scene, split. Files in ``sharp/`` are photos; those in
            ``davis/frames/`` have a mask of the same name in ``davis/masks/``.
        split: 'train' or 'val'.

    Raises:
        DataError: the table is missing, or contains nothing of this split.
    """
    table = root / 'index.csv'
    if not table.is_file():
        raise DataError(f'{table}: missing; --training is a folder with index.csv, sharp/ and davis/')
    found = []
    with table.open(encoding='utf-8', newline='') as file:
        for row in csv.DictReader(file):
            path = Path(row['file'])
            if row['split'] != split or 'masks' in path.parts:
                continue
            mask = None if path.parts[0] == 'sharp' else root / 'davis' / 'masks' / f'{path.stem}.png'
            found.append(Source(root / path, row['scene'].replace('/', '_'), mask))
    if not found:
        raise DataError(f"{table}: no image of the split '{split}'")
    return found


class Cutter:
    """Draws crops of sources.

    Args:
        side: of a sample in pixels.
        margin: beyond it on each side.
    """

    def __init__(self, side: int, margin: int) -> None:
        self.side, self.margin = side, margin
        self._photo = RecentImages(lambda path: read_sharp(path, PHOTO_SIDE))
        self._frame = RecentImages(lambda path: read_sharp(path, FRAME_SIDE))

    def __call__(self, sources: Sequence[Source], rng: np.random.Generator) -> tuple[Source, Crop]:
        """Draw a sharp crop with 2 to 6 regions.

        Raises:
            DataError: none was found in many draws.
        """
        for _ in range(_ATTEMPTS):
            source = sources[int(rng.integers(len(sources)))]
            crop = self._draw(source, rng)
            inner = None if crop is None else self.inner(crop.labels)
            if crop is not None and inner is not None and self._is_fit(crop, inner, source.kind):
                return source, crop
        raise DataError(f'{sources[0].path}: {_ATTEMPTS} draws found no sharp crop with several regions')

    def inner(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Remove the margin of (H, W, ...)."""
        return array[self.margin : self.margin + self.side, self.margin : self.margin + self.side]

    def _draw(self, source: Source, rng: np.random.Generator) -> Crop | None:
        image = (self._photo if source.mask is None else self._frame)(source.path)
        whole = self.side + 2 * self.margin
        if min(image.shape[:2]) < whole:
            return None
        top, left = (int(rng.integers(length - whole + 1)) for length in image.shape[:2])
        window = slice(top, top + whole), slice(left, left + whole)
        crop = np.ascontiguousarray(image[window])
        if source.mask is not None:
            mask = imread(source.mask, channels=1)[..., 0].astype(np.float32)
            scaled = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_AREA)
            return Crop(crop, np.asarray(1 + (scaled[window] > mask.max(initial=1) / 2), np.uint8))
        labels = _PHOTO_REGIONS(crop)[0]
        return Crop(crop, merged(labels, crop, int(rng.integers(REGIONS[0], REGIONS[1] + 1))))

    def _is_fit(self, crop: Crop, inner: Labels, kind: str) -> bool:
        shares = np.bincount(inner.ravel())[1:] / inner.size
        if kind == 'frame':
            return len(shares) == 2 and _OBJECT_SHARE[0] <= shares[1] <= _OBJECT_SHARE[1] and is_sharp(crop.image)
        return (shares > 0.02).sum() >= REGIONS[0] and is_sharp(crop.image)


def merged(labels: NDArray[np.integer], image: Image, count: int) -> Labels:
    """Merge regions until ``count`` are left: the smallest one joins its neighbour of the most similar mean colour.

    Args:
        labels: (H, W), a partition with ids from 1.
        image: (H, W, 3) RGB uint8.
        count: number of regions to keep.

    Returns:
        (H, W), ids from 1.
    """
    labels = compact(labels[None])[0].astype(np.int32)
    areas = np.bincount(labels.ravel()).astype(np.float64)
    sums = np.stack([np.bincount(labels.ravel(), image[..., c].ravel(), len(areas)) for c in range(3)], 1)
    while (areas > 0).sum() > max(1, count):
        smallest = int(np.where(areas > 0, areas, np.inf).argmin())
        mask = (labels == smallest).astype(np.uint8)
        ring = (cv2.dilate(mask, np.ones((3, 3), np.uint8)) > mask) & (labels > 0)
        near = np.unique(labels[ring])
        means = sums[near] / areas[near, None]
        other = near[np.linalg.norm(means - sums[smallest] / areas[smallest], axis=1).argmin()]
        labels[mask > 0] = other
        areas[other], sums[other] = areas[other] + areas[smallest], sums[other] + sums[smallest]
        areas[smallest] = 0
    return np.asarray(compact(labels[None])[0], np.uint8)


def blurred(crop: Crop, margin: int, motion: Motion, rng: np.random.Generator) -> tuple[Image, Image]:
    """Let the regions of a crop move, each on its own, and expose.

    The draws do not depend on lengths and gamma, so that the same crop can be blurred by more or less of the same
    motion.

    Args:
        crop: with its margin.
        margin: to remove on each side.
        motion: how regions move.
        rng: random generator.

    Returns:
        blurred and sharp, (H, W, 3) RGB uint8 without margin.
    """
    ids = np.unique(crop.labels)[::-1]
    moves = rng.random(len(ids)) < motion.moving_share
    moves[int(rng.integers(len(ids)))] = True
    parts = rng.random(len(ids))
    lengths = motion.lengths[0] + parts * (motion.lengths[1] - motion.lengths[0])
    samples = samples_for(motion.lengths[1], most=49)
    paths = {}
    for number, moving, length in zip(ids.tolist(), moves.tolist(), lengths.tolist(), strict=True):
        straight, angle = rng.random() < motion.straight_share, float(rng.uniform(0, 2 * np.pi))
        curve = shake_path(length, rng, samples)
        path = straight_path(length, angle, samples) if straight else curve
        paths[number] = path if moving else np.zeros_like(path)
    std = float(rng.uniform(0, motion.noise))
    return render_photo(crop.image, crop.labels, paths, None, None, motion.gamma, std, rng, margin)
