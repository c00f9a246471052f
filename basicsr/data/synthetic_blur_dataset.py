"""Generated training pairs: sharp photos or dead leaves with independently moving regions and camera shake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import MinLen
from numpy.typing import NDArray

from basicsr.data.dead_leaves import dead_leaves
from basicsr.data.exposure import Image, JpegRange, as_jpeg
from basicsr.data.generated_dataset import Above0, AtLeast0, GeneratedDataset, Range, RangeAbove0
from basicsr.data.image_masks import Generator
from basicsr.data.motion import at_times, draw_length, load_kernel, samples_for, shake_path, straight_path
from basicsr.data.region_blur import Displacements, render, render_photo
from basicsr.data.sample import Sample
from basicsr.data.sharp_sources import RecentImages, photos_in
from basicsr.masks.generator import build_generator
from basicsr.masks.label_map import compact
from basicsr.masks.mask_images import read_photo
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import File, Folder, NotNegative, Positive, Share, require_arguments


@DATASET_REGISTRY.register()
class SyntheticBlurDataset(GeneratedDataset):
    """Pairs with region-wise motion blur and the label map of the regions, generated on demand.

    ``dataset[i]`` depends on the seed, the epoch and i alone. It contains lq and gt, uint8 (3, H, W) RGB, ``masks``,
    integers (1, H, W) with ids from 1, ``lq_path`` and ``gt_path`` (the photo's path, or
    ``dead_leaves:seed/epoch/i``), and ``mask_seed``.

    Args:
        dataroot_gt: folder of sharp photos, with sub-folders; None generates dead leaves only.
        share_photos: fraction of samples that are made from photos, if there are any.
        length: number of samples in one epoch.
        gt_size: side of the samples in pixels.
        path_length: mean path length of moving regions, in pixels (gamma distribution).
        path_shape: shape parameter of this distribution, and of that of the camera shake.
        path_range: draw path lengths uniformly from this range instead; None uses the gamma distribution.
        straight_share: fraction of moving regions with a straight path; the others move along a smooth curve.
        directions: possible directions of straight paths, in degrees: 0 is right, 90 is down; None allows all.
        shake_length: mean path length of the camera shake, which moves the whole image, in pixels.
        moving_share: fraction of regions that move independently.
        smoothness: range of the fraction of the exposure over which the velocity on curved paths stays similar: 0.3
            gives winding paths, 1 gives arcs.
        gamma: average frames as gray value^gamma; 1 averages gray values. Two numbers are a range from which each
            sample draws its value.
        noise: range of the standard deviation of the noise at mid gray (white = 1).
        jpeg: range of the JPEG quality (1 to 100) of the blurred images, after adding noise; None disables
            compression.
        kernel_files: blur kernels (`.npy` or images); each sample uses a random one as the camera's path.
        masks: 'generator' moves the regions of photos, 'none' treats each photo as one region.
        generator: mask generator for the regions of photos; None uses felzenszwalb with its defaults.
        seed: random seed.

    Raises:
        DataError: the folder is missing or has no photos.
        ImageFileError: a kernel cannot be read.
        ArgumentError: an argument is out of range.
    """

    def __init__(
        self,
        dataroot_gt: Folder | None = None,
        share_photos: Share = 0.5,
        length: Positive = 1000,
        gt_size: Positive = 128,
        path_length: AtLeast0 = 10.0,
        path_shape: Above0 = 2.0,
        path_range: RangeAbove0 | None = None,
        straight_share: Share = 0.5,
        directions: Annotated[Sequence[float], MinLen(1)] | None = None,
        shake_length: AtLeast0 = 3.0,
        moving_share: Share = 0.7,
        smoothness: RangeAbove0 = (0.3, 0.3),
        gamma: Above0 | RangeAbove0 = 2.2,
        noise: Range = (0.0, 0.01),
        jpeg: JpegRange | None = None,
        kernel_files: list[File] | None = None,
        masks: Literal['generator', 'none'] = 'generator',
        generator: Generator = None,
        seed: NotNegative = 0,
    ) -> None:
        require_arguments(SyntheticBlurDataset, locals())
        super().__init__(length, seed)
        self.gamma = (float(gamma), float(gamma)) if isinstance(gamma, (int, float)) else gamma
        self.gt_size = gt_size
        self.path_length, self.path_shape, self.straight_share = path_length, path_shape, straight_share
        self.path_range, self.directions = path_range, directions
        self.shake_length, self.moving_share = shake_length, moving_share
        self.smoothness, self.noise, self.jpeg = smoothness, noise, jpeg
        self.margin = int(np.ceil((path_range[1] if path_range else 1.5 * path_length) + shake_length))
        self.photos = [] if dataroot_gt is None else photos_in([dataroot_gt])
        self.share_photos = share_photos if self.photos else 0.0
        self.kernels = [load_kernel(file) for file in kernel_files or ()]
        use_generator = masks == 'generator' and self.share_photos > 0
        self.generator = build_generator(generator or {'type': 'felzenszwalb'}) if use_generator else None
        self._read = RecentImages(read_photo)

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = self.generator_of(index)
        mask_seed = int(rng.integers(2**31))
        std = float(rng.uniform(*self.noise))
        if rng.random() < self.share_photos:
            photo = self.photos[int(rng.integers(len(self.photos)))]
            lq, gt, labels = self._from_photo(photo, std, rng)
            name = str(photo)
        else:
            lq, gt, labels = self._from_dead_leaves(std, rng)
            name = f'dead_leaves:{self.seed}/{self.epoch}/{index}'
        if self.jpeg is not None:
            lq = as_jpeg(lq, int(rng.integers(self.jpeg[0], self.jpeg[1] + 1)))
        return Sample(lq, name, gt, name, compact(labels)).as_item(mask_seed)

    def _from_dead_leaves(self, std: float, rng: np.random.Generator) -> tuple[Image, Image, NDArray[Any]]:
        size = self.gt_size, self.gt_size
        layers, labels = dead_leaves(
            *size, rng, margin=int(np.ceil(self.path_range[1] if self.path_range else self.path_length))
        )
        paths, shake, weights = self._draw_motion(len(layers), rng)
        return *render(layers, size, paths, shake, weights, _within(self.gamma, rng), std, rng), labels

    def _from_photo(self, path: Path, std: float, rng: np.random.Generator) -> tuple[Image, Image, NDArray[Any]]:
        photo = self._read(path)
        sharp = photo[np.ix_(*(self._window(side, rng) for side in photo.shape[:2]))]
        labels = np.ones((1, *sharp.shape[:2]), np.int32)
        if self.generator is not None:
            labels = np.asarray(self.generator(sharp), np.int32)
        regions = labels[0].copy()
        for layer in labels[1:]:  # later layers hold the masks that overlap earlier ones, mostly parts of them
            np.copyto(regions, layer, where=layer > 0)
        ids = rng.permutation(np.unique(regions[regions > 0]))
        paths, shake, weights = self._draw_motion(len(ids), rng)
        moving = {int(number): own for number, own in zip(ids, paths, strict=True) if own is not None}
        lq, gt = render_photo(sharp, regions, moving, shake, weights, _within(self.gamma, rng), std, rng, self.margin)
        inner = slice(self.margin, self.margin + self.gt_size)
        return lq, gt, labels[:, inner, inner]

    def _window(self, side: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw the rows or columns of a crop with its margin; beyond the photo they are reflected symmetrically."""
        start = int(rng.integers(max(0, side - self.gt_size) + 1))
        places = np.arange(start - self.margin, start + self.gt_size + self.margin) % (2 * side)
        return np.minimum(places, 2 * side - 1 - places)

    def _draw_motion(
        self, regions: int, rng: np.random.Generator
    ) -> tuple[list[Displacements | None], Displacements, Displacements | None]:
        """Draw the paths of the regions (None at rest) and of the camera, and the weight of each displacement."""
        moves = rng.random(regions) < self.moving_share
        lengths = [self._draw_length(rng) if move else 0.0 for move in moves]
        shake_length = draw_length(rng, self.shake_length, self.path_shape)
        samples = samples_for(max([shake_length, *lengths]))
        paths = [self._draw_path(length, samples, rng) if length else None for length in lengths]
        shake = self._draw_curve(shake_length, samples, rng)
        if not self.kernels:
            return paths, shake, None
        shake, weights = self.kernels[int(rng.integers(len(self.kernels)))]
        times = np.cumsum(weights) - weights / 2
        return [None if path is None else at_times(path, times) for path in paths], shake, weights

    def _draw_length(self, rng: np.random.Generator) -> float:
        if self.path_range is not None:
            return float(rng.uniform(*self.path_range))
        return draw_length(rng, self.path_length, self.path_shape)

    def _draw_path(self, length: float, samples: int, rng: np.random.Generator) -> Displacements:
        if rng.random() < self.straight_share:
            turns = self.directions
            angle = rng.uniform(0, 2 * np.pi) if turns is None else np.deg2rad(turns[int(rng.integers(len(turns)))])
            return straight_path(length, float(angle), samples)
        return self._draw_curve(length, samples, rng)

    def _draw_curve(self, length: float, samples: int, rng: np.random.Generator) -> Displacements:
        return shake_path(length, rng, samples, _within(self.smoothness, rng))


def _within(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw a number between the two; nothing is drawn if they are equal."""
    return limits[0] if limits[0] == limits[1] else float(rng.uniform(*limits))
