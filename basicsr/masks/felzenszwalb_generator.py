"""Graph-based segmentation (Felzenszwalb and Huttenlocher 2004), which needs no weights."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.generator import MaskGenerator
from basicsr.utils.errors import ArgumentError
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY


@MASK_GENERATOR_REGISTRY.register(name='felzenszwalb')
class FelzenszwalbGenerator(MaskGenerator):
    """Partition of a photo into regions of similar colour; every pixel belongs to exactly one.

    Large photos are segmented at a smaller size, and the regions enlarged by nearest neighbour, because time and memory
    grow faster than the number of pixels.

    Args:
        scale: larger values give larger regions.
        sigma: Gaussian blur before segmenting, in pixels of the working size.
        min_size: smallest region, in pixels of the working size.
        max_pixels: photos with more pixels are segmented at this many.
    """

    name: ClassVar[str] = 'felzenszwalb'

    def __init__(
        self, scale: float = 200.0, sigma: float = 0.8, min_size: int = 100, max_pixels: int = 1_000_000
    ) -> None:
        if scale <= 0 or sigma < 0 or min_size < 1 or max_pixels < 1:
            raise ArgumentError('felzenszwalb needs scale > 0, sigma ≥ 0, min_size ≥ 1 and max_pixels ≥ 1')
        self.scale, self.sigma, self.min_size, self.max_pixels = scale, sigma, min_size, max_pixels

    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """Make one layer with ids from 1 to the number of regions."""
        import cv2
        from skimage.segmentation import felzenszwalb

        height, width = image.shape[:2]
        shrink = min(1.0, (self.max_pixels / (height * width)) ** 0.5)
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if shrink < 1 else image
        regions = felzenszwalb(small, scale=self.scale, sigma=self.sigma, min_size=self.min_size) + 1
        if shrink < 1:
            rows = np.arange(height) * size[1] // height
            columns = np.arange(width) * size[0] // width
            regions = regions[rows[:, None], columns]
        return np.asarray(regions, np.int32)[None]

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments, and the version of scikit-image."""
        arguments = {key: getattr(self, key) for key in ('scale', 'sigma', 'min_size', 'max_pixels')}
        return {'type': self.name, **arguments, 'scikit-image': version('scikit-image')}
