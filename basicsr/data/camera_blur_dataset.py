"""Generated training pairs with camera blur: shake, real motion between frames, one kernel, or none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from basicsr.data.blur_pair import BlurKind, BlurPair, reduced, resampled, resized
from basicsr.data.camera_shake import CameraShake, expose
from basicsr.data.exposure import Image, JpegRange, Planes, add_noise, as_jpeg, gray_of, light_of, to_uint8
from basicsr.data.frame_motion import FramePair, Window, mean_motion, times_of
from basicsr.data.generated_dataset import Ascending, AtLeast0, GeneratedDataset, Range
from basicsr.data.sample import Sample
from basicsr.data.sharp_sources import (
    Pair,
    RecentImages,
    frame_pairs_in,
    is_sharp,
    large_enough,
    photos_in,
    read_pair,
    read_sharp,
    require_size,
    scaled,
    texture,
)
from basicsr.images.files import imread
from basicsr.utils.errors import ArgumentError, DataError
from basicsr.utils.registry import DATASET_REGISTRY
from basicsr.utils.signature import Folder, NotNegative, Positive, Share, require_arguments

KINDS: tuple[BlurKind, ...] = get_args(BlurKind)
SHARES: dict[BlurKind, float] = {'shake': 0.4, 'motion': 0.35, 'kernel': 0.1, 'sharp': 0.15}

_Gamma = Annotated[float, Ge(0.1)]
_Side = Annotated[int, Ge(16)]

_ROWS = 720  # path lengths refer to an image with this number of rows
_ATTEMPTS = 60
_AGREEMENT = {'crop': 0.92, 'whole': 0.85}  # the part of pixels at which the flows of both directions agree, at least
_SMALLER = (0.5, 0.9)  # frames and photos are scaled down for crops, which sharpens slightly soft ones


@DATASET_REGISTRY.register()
class CameraBlurDataset(GeneratedDataset):
    """Pairs from sharp photos and clips with simulated camera blur, generated on demand.

    Kinds of blur: 'shake' is a camera that rotates and moves in six degrees of freedom during the exposure, 'motion' is
    the mean of frames interpolated between two neighbours of a clip, 'kernel' is one blur kernel for all pixels, and
    'sharp' is no blur. The ground truth is the middle of the exposure.

    ``dataset[i]`` depends on the seed, the epoch and i alone. It contains lq and gt, uint8 (3, H, W) RGB, ``lq_path``,
    ``gt_path``, ``mask_seed``, and with ``dataroot_clip_masks`` ``masks``, integers (1, H, W).

    Args:
        dataroot_photos: folders of sharp photos, with sub-folders.
        dataroot_clips: folders of clips: images whose names end with consecutive numbers.
        dataroot_clip_masks: masks of the frames, with the same names and the suffix .png; uncovered pixels become
            another region. Samples of other kinds have one region.
        kinds: proportion of each kind; None is 40 shake, 35 motion, 10 kernel and 15 sharp, without kinds whose sources
            are missing.
        length: number of samples in one epoch.
        gt_size: side of the samples in pixels; None generates whole images.
        path_length: range of the mean path of a pixel, in an image of 720 rows; log(1 + length) is uniform.
        exposure: range of the exposure of motion, in intervals between frames.
        gamma: range of the exponent: light = gray value^gamma.
        highlights: fraction of samples with highlights, up to six times as bright before clipping.
        degraded: fraction of samples with noise; independently, fraction of samples stored as JPEG.
        noise: range of the standard deviation of the noise at mid gray (white = 1).
        jpeg: range of the JPEG quality (1 to 100); None disables compression.
        candidates: number of crops to draw per sample, each with its own blur. One is used; blurry and textured crops
            are more likely.
        short_side: range of the shorter side of whole images; larger photos and frames are scaled down, smaller photos
            are skipped.
        reduce_to: crop and scale whole images, lq and gt, down to this width and height.
        seed: random seed.

    Raises:
        DataError: a folder is missing or empty, photos are smaller than the crop, a clip has no neighbouring frames.
        ArgumentError: kinds without their sources, or numbers out of range.
    """

    def __init__(
        self,
        dataroot_photos: Folder | list[Folder] | None = None,
        dataroot_clips: Folder | list[Folder] | None = None,
        dataroot_clip_masks: Folder | None = None,
        kinds: dict[BlurKind, AtLeast0] | None = None,
        length: Positive = 1000,
        gt_size: Positive | None = 128,
        path_length: Range = (0.0, 60.0),
        exposure: Range = (0.2, 1.5),
        gamma: Annotated[tuple[_Gamma, _Gamma], Ascending] = (1.0, 2.4),
        highlights: Share = 0.3,
        degraded: Share = 0.3,
        noise: Range = (0.0, 0.01),
        jpeg: JpegRange | None = (75, 98),
        candidates: Positive = 4,
        short_side: Annotated[tuple[_Side, _Side], Ascending] = (480, 720),
        reduce_to: tuple[int, int] | None = None,
        seed: NotNegative = 0,
    ) -> None:
        require_arguments(CameraBlurDataset, locals())
        super().__init__(length, seed)
        self.photos = photos_in(_listed(dataroot_photos))
        self.pairs = frame_pairs_in(_listed(dataroot_clips))
        self.shares = _shares(kinds, bool(self.photos), bool(self.pairs))
        self.clip_masks = None if dataroot_clip_masks is None else Path(dataroot_clip_masks).expanduser()
        self.gt_size, self.candidates = gt_size, candidates
        self.path_length, self.exposure, self.gamma = path_length, exposure, gamma
        self.highlights, self.degraded, self.noise, self.jpeg = highlights, degraded, noise, jpeg
        self.short_side, self.reduce_to = short_side, reduce_to
        if gt_size is None:
            self.photos = large_enough(self.photos, short_side[0])
        require_size(self.photos, self.pairs, gt_size or short_side[0])
        self._photo = RecentImages(partial(read_sharp, short_side=short_side[1]))

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item of a pair; see the class."""
        pair = self.make(index)
        labels = pair.labels
        if labels is None and self.clip_masks is not None:
            labels = np.ones((1, *pair.lq.shape[:2]), np.uint8)
        name, mask_seed = f'{pair.source}#{pair.kind}', int(self.generator_of(index, 1).integers(2**31))
        return Sample(pair.lq, name, pair.gt, str(pair.source), labels).as_item(mask_seed)

    def make(self, index: int) -> BlurPair:
        """Return the pair as arrays, with the settings that were drawn.

        Raises:
            IndexError: ``index`` is not 0 to ``len(self) - 1``.
            DataError: no part of the clips is sharp and has consistent flow.
            ImageFileError: a file cannot be read.
        """
        rng = self.generator_of(index)
        kind = KINDS[int(rng.choice(len(KINDS), p=self.shares))]
        return self._from_clip(rng) if kind == 'motion' else self._from_photo(kind, rng)

    def _from_photo(self, kind: BlurKind, rng: np.random.Generator) -> BlurPair:
        path = self.photos[int(rng.integers(len(self.photos)))] if self.photos else self._any_frame(rng)
        photo = self._photo(path)
        if self.gt_size is None:
            photo = scaled(photo, int(rng.integers(self.short_side[0], self.short_side[1] + 1)))
        else:
            factor = max(float(rng.uniform(_SMALLER[0], 1.0)), self.gt_size / min(photo.shape[:2]))
            photo = scaled(photo, round(factor * min(photo.shape[:2])))
        size = photo.shape[0], photo.shape[1]
        tried: list[tuple[float, Window, CameraShake]] = []
        for _ in range(1 if self.gt_size is None else self.candidates):
            window = self._window(size, self.gt_size, rng)
            top, left, height, width = window
            low, high = np.log1p(self.path_length)
            length = 0.0 if kind == 'sharp' else float(np.expm1(rng.uniform(low, high))) * size[0] / _ROWS
            shake = CameraShake(size, length, rng, translation_only=kind == 'kernel')
            middle = np.array([[top + height / 2, left + width / 2]])
            blur = 1.0 if kind == 'sharp' else (1 + float(shake.path_length(middle)[0])) ** 0.5
            tried.append((texture(photo[top : top + height, left : left + width]) ** 0.5 * blur, window, shake))
        window, shake = _drawn(tried, rng)
        top, left, height, width = window
        sharp = photo[top : top + height, left : left + width]
        if kind == 'sharp':
            return self._finished(sharp, sharp, kind, path, 0.0, rng)
        gamma, gain = float(rng.uniform(*self.gamma)), self._gain(rng)
        light = light_of(photo, gamma, gain)
        gt = sharp if gain == 1 else to_uint8(gray_of(light[top : top + height, left : left + width], gamma))
        places = np.array([(top + a * height, left + b * width) for a in (0.1, 0.5, 0.9) for b in (0.1, 0.5, 0.9)])
        extent = float(shake.path_length(places).mean())
        return self._finished(gray_of(expose(light, shake, window), gamma), gt, kind, path, extent, rng)

    def _from_clip(self, rng: np.random.Generator) -> BlurPair:
        """Draw a crop, or a whole frame, with reliable flow and a sharp ground truth."""
        for _ in range(_ATTEMPTS):
            pair, frames = self._moving_frames(rng)
            flow = FramePair(*frames)
            side, factor = None, 1.0
            if self.gt_size is not None:
                factor = max(float(rng.uniform(*_SMALLER)), self.gt_size / min(flow.size))
                side = min(round(self.gt_size / factor), *flow.size)
            exposure = float(rng.uniform(*self.exposure))
            speed = flow.motion()
            tried: list[tuple[float, Window, None]] = []
            for _ in range(1 if side is None else 2 * self.candidates):
                window = self._window(flow.size, side, rng)
                top, left, height, width = window
                if flow.agreement(window) >= _AGREEMENT['whole' if side is None else 'crop']:
                    cut = slice(top, top + height), slice(left, left + width)
                    tried.append((texture(frames[0][cut]) ** 0.5 * (0.5 + float(speed[cut].mean())), window, None))
            if not tried:
                continue
            window, _ = _drawn(tried, rng)
            made = self._exposed(flow, frames, exposure, window, factor, rng)
            if made is not None:
                lq, gt, extent = made
                labels = self._labels(pair[0], flow, window, gt.shape[:2])
                return self._finished(lq, gt, 'motion', pair[0], extent, rng, labels)
        raise DataError(
            f'{self.pairs[0][0].parent} and the other clips: {_ATTEMPTS} draws found no sharp part with '
            'consistent optical flow; add clips with slower motion or a shorter exposure'
        )

    def _moving_frames(self, rng: np.random.Generator) -> tuple[Pair, tuple[Image, Image]]:
        """Draw two neighbouring frames; pairs with more motion are more likely."""
        tried = [self.pairs[int(rng.integers(len(self.pairs)))] for _ in range(self.candidates)]
        frames = [read_pair(pair, self._photo) for pair in tried]
        weights = np.array([0.5 + mean_motion(*pair) for pair in frames])
        chosen = int(rng.choice(len(tried), p=weights / weights.sum()))
        return tried[chosen], frames[chosen]

    def _exposed(
        self,
        flow: FramePair,
        frames: tuple[Image, Image],
        exposure: float,
        window: Window,
        factor: float,
        rng: np.random.Generator,
    ) -> tuple[Planes, Image, float] | None:
        """Return blurred gray values, ground truth and extent; None if the ground truth is not sharp."""
        gamma, gain = float(rng.uniform(*self.gamma)), self._gain(rng)
        lights = light_of(frames[0], gamma, gain), light_of(frames[1], gamma, gain)
        top, left, height, width = window
        size = (height, width) if self.gt_size is None else (self.gt_size, self.gt_size)
        gt = to_uint8(gray_of(resized(flow.between(lights, np.array([0.5]), window)[0], size), gamma))
        if not is_sharp(gt):
            return None
        path = flow.motion()[top : top + height, left : left + width] * exposure
        mean = flow.between(lights, times_of(exposure, float(np.percentile(path, 95))), window).mean(0)
        return gray_of(resized(mean, size), gamma), gt, float(path.mean()) * size[0] / height

    def _labels(self, frame: Path, flow: FramePair, window: Window, size: tuple[int, ...]) -> NDArray[np.uint8] | None:
        if self.clip_masks is None:
            return None
        file = self.clip_masks / f'{frame.stem}.png'
        if not file.is_file():
            return None
        mask = imread(file, channels=1)[..., 0]
        if mask.shape != flow.size:
            mask = np.asarray(resized(mask.astype(np.float32)[..., None], flow.size)[..., 0])
        labels = flow.labels_between((mask > mask.max(initial=0) / 2).astype(np.uint8), window)
        return np.ascontiguousarray(1 + resampled(labels, size))[None]

    def _finished(
        self,
        lq: Image | Planes,
        gt: Image,
        kind: BlurKind,
        source: Path,
        extent: float,
        rng: np.random.Generator,
        labels: NDArray[np.uint8] | None = None,
    ) -> BlurPair:
        """Reduce a pair and add noise and JPEG artifacts; the ground truth of a sharp sample gets them as well."""
        values = np.asarray(lq / np.float32(255) if lq.dtype == np.uint8 else lq, np.float32)
        if self.reduce_to is not None:
            extent *= self.reduce_to[0] / values.shape[1]
            values, gt, labels = reduced(values, gt, labels, self.reduce_to)
        if rng.random() < self.degraded:
            values = add_noise(values, float(rng.uniform(*self.noise)), rng)
        stored = to_uint8(values)
        if self.jpeg is not None and rng.random() < self.degraded:
            stored = as_jpeg(stored, int(rng.integers(self.jpeg[0], self.jpeg[1] + 1)))
        return BlurPair(stored, stored if kind == 'sharp' else gt, kind, source, extent, labels)

    def _window(self, size: tuple[int, int], side: int | None, rng: np.random.Generator) -> Window:
        if side is None:
            return 0, 0, *size
        top, left = (int(rng.integers(length - side + 1)) for length in size)
        return top, left, side, side

    def _gain(self, rng: np.random.Generator) -> float:
        bright, gain = rng.random() < self.highlights, float(np.exp(rng.uniform(0, np.log(6))))
        return gain if bright else 1.0

    def _any_frame(self, rng: np.random.Generator) -> Path:
        """Draw a sharp frame; used if there are no photos."""
        for _ in range(_ATTEMPTS):
            path = self.pairs[int(rng.integers(len(self.pairs)))][0]
            if is_sharp(self._photo(path)):
                return path
        raise DataError(f'{self.pairs[0][0].parent}: {_ATTEMPTS} draws found no sharp frame; add photos or other clips')


def _listed(folders: str | list[str] | None) -> list[str]:
    return [] if folders is None else [folders] if isinstance(folders, str) else list(folders)


def _shares(kinds: dict[BlurKind, float] | None, photos: bool, clips: bool) -> NDArray[np.float64]:
    """Return the probability of each kind."""
    if not photos and not clips:
        raise ArgumentError('set dataroot_photos, dataroot_clips, or both')
    if kinds is None:
        kinds = {kind: share for kind, share in SHARES.items() if kind != 'motion' or clips}
    if not sum(kinds.values()) > 0:
        raise ArgumentError(f'kinds are shares of {", ".join(KINDS)}, not all 0, got {kinds}')
    if kinds.get('motion', 0) > 0 and not clips:
        raise ArgumentError("kinds: 'motion' needs dataroot_clips")
    shares = np.array([kinds.get(kind, 0.0) for kind in KINDS], np.float64)
    return np.asarray(shares / shares.sum())


def _drawn(tried: list[tuple[float, Window, Any]], rng: np.random.Generator) -> tuple[Window, Any]:
    """Draw one of the candidates, in proportion to its weight."""
    weights = np.array([weight for weight, *_ in tried]) + 1e-6
    _, window, shake = tried[int(rng.choice(len(tried), p=weights / weights.sum()))]
    return window, shake
