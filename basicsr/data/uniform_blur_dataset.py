"""Generated training samples with one blur kernel for the whole image, and that kernel."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge

from basicsr.data.blur_kernels import DrawnKernel, KernelKind, RandomKernels, convolved
from basicsr.data.exposure import Image, add_noise, gray_of, light_of, to_uint8
from basicsr.data.generated_dataset import AtLeast0, GeneratedDataset, Range, RangeAbove0
from basicsr.data.sample import Sample
from basicsr.data.sharp_sources import RecentImages, photos_in, read_sharp, require_size, scaled, texture
from basicsr.utils.errors import DataError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative, Positive, Share, require_arguments

_Side = Annotated[int, Ge(11)]
_FURTHER = 50  # places to draw if all parts have one colour, in which no blur can be seen
_SMALLER = 0.5  # photos are scaled down to between this factor and their size


@DATASET_REGISTRY.register()
class UniformBlurDataset(GeneratedDataset):
    """Sharp photos, each blurred with one random kernel in linear light, generated on demand.

    The blurred image is the valid part of the convolution, so that no pixel depends on what lies beyond the photo; the
    ground truth is the same part of the photo. Then come noise, clipping and rounding to 8 bits.

    ``dataset[i]`` depends on the seed, the epoch and i alone. It contains lq and gt, uint8 (3, H, W) RGB, ``kernel``,
    float32 (n, n) with sum 1 and its centre of mass in the middle (a true convolution: lq = gt * kernel), ``lq_path``,
    ``gt_path`` and ``mask_seed``.

    Args:
        dataroot_gt: folders of sharp photos, with sub-folders.
        kernel_size: height and width n of the kernels, odd, at least 11.
        extent: range of the longer side of the kernels' shapes in pixels; None is 5 to n - 4.
        kinds: proportion of each kind of kernel: shake, line, disc, file; None is mostly shake, or only file with
            ``kernel_files``.
        kernel_files: a kernel (``.npy`` or ``.png``), or a folder of kernels.
        length: number of samples in one epoch.
        gt_size: side of the samples in pixels.
        gamma: range of the exponent: light = gray value^gamma.
        highlights: fraction of samples with highlights, up to six times as bright before clipping.
        noise: range of the standard deviation of the noise at mid gray (white = 1).
        candidates: number of places to draw per sample; one is used, textured ones are more likely.
        short_side: longest shorter side of the photos in pixels; larger ones are scaled down.
        seed: random seed.

    Raises:
        DataError: a folder is missing or empty, photos are smaller than ``gt_size`` + ``kernel_size`` - 1, a kernel
            file is no kernel; on reading, a photo of one colour.
        ArgumentError: a number is out of range.
    """

    def __init__(
        self,
        dataroot_gt: Folder | list[Folder],
        kernel_size: _Side = 85,
        extent: RangeAbove0 | None = None,
        kinds: dict[KernelKind, AtLeast0] | None = None,
        kernel_files: str | None = None,
        length: Positive = 1000,
        gt_size: Positive = 256,
        gamma: RangeAbove0 = (1.0, 2.4),
        highlights: Share = 0.3,
        noise: Range = (0.0, 0.01),
        candidates: Positive = 4,
        short_side: Positive = 720,
        seed: NotNegative = 0,
    ) -> None:
        require_arguments(UniformBlurDataset, locals())
        super().__init__(length, seed)
        files = None if kernel_files is None else Path(kernel_files).expanduser()
        self.kernels = RandomKernels(kernel_size, extent, kinds, files)
        self.photos = photos_in([dataroot_gt] if isinstance(dataroot_gt, str) else list(dataroot_gt))
        self.gt_size, self.candidates = gt_size, candidates
        self.gamma, self.highlights, self.noise = gamma, highlights, noise
        require_size(self.photos, [], self.side)
        self._photo = RecentImages(partial(read_sharp, short_side=max(short_side, self.side)))

    @property
    def side(self) -> int:
        """Return the side of the part of a photo that one sample needs."""
        return self.gt_size + self.kernels.size - 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = self.generator_of(index)
        kernel = self.kernels.draw(rng)
        path = self.photos[int(rng.integers(len(self.photos)))]
        lq, gt = self._blurred(self._part(path, rng), kernel, rng)
        name, mask_seed = f'{path}#{kernel.source}', int(rng.integers(2**31))
        return Sample(lq, name, gt, str(path)).as_item(mask_seed) | {'kernel': torch.from_numpy(kernel.values.copy())}

    def _part(self, path: Path, rng: np.random.Generator) -> Image:
        """Draw the part of a photo to blur, possibly mirrored."""
        photo = self._photo(path)
        short = min(photo.shape[:2])
        photo = scaled(photo, max(self.side, round(float(rng.uniform(_SMALLER, 1.0)) * short)))
        parts: list[Image] = []
        while len(parts) < self.candidates or all(texture(part) == 0 for part in parts):
            if len(parts) == self.candidates + _FURTHER:
                raise DataError(f'{path}: {len(parts)} parts of this photo have one colour each; remove it')
            top, left = (int(rng.integers(length - self.side + 1)) for length in photo.shape[:2])
            parts.append(photo[top : top + self.side, left : left + self.side])
        weights = np.array([texture(part) for part in parts]) + 1e-6
        part = parts[int(rng.choice(len(parts), p=weights / weights.sum()))]
        return part[:, ::-1] if rng.random() < 0.5 else part

    def _blurred(self, photo: Image, kernel: DrawnKernel, rng: np.random.Generator) -> tuple[Image, Image]:
        gamma, bright, gain = float(rng.uniform(*self.gamma)), rng.random(), float(np.exp(rng.uniform(0, np.log(6))))
        light = light_of(photo, gamma, gain if bright < self.highlights else 1.0)
        values = gray_of(convolved(light, kernel.values), gamma)
        noisy = add_noise(values, float(rng.uniform(*self.noise)), rng)
        half = self.kernels.size // 2
        sharp = gray_of(light, gamma)[half : half + self.gt_size, half : half + self.gt_size]
        return to_uint8(noisy), to_uint8(sharp)
