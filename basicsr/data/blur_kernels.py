"""Draw random blur kernels: paths of a shaken camera, short straight lines, defocus discs; or kernels of files.

Kaufman and Fattal (CVPR 2020) announced their generator of kernels and did not publish it. The recipe here is ours: the
paths are those of :mod:`basicsr.data.motion`, with impulses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from basicsr.data.exposure import Planes
from basicsr.data.motion import at_times, random_walk, straight_path
from basicsr.deconvolution.kernel_step import offsets
from basicsr.deconvolution.kernels import read_kernel
from basicsr.utils.errors import ArgumentError, DataError, ShapeError

Floats = NDArray[np.float64]
KernelKind = Literal['shake', 'line', 'disc', 'file']
KINDS: tuple[KernelKind, ...] = get_args(KernelKind)
SHARES: dict[KernelKind, float] = {'shake': 0.92, 'line': 0.04, 'disc': 0.04}
"""Share of each kind without files."""

_PER_PIXEL = 4  # points of a path per pixel, where it is fastest
_MOST_IMPULSES = 3
_SMOOTHNESS = (0.06, 1.0)
_SOFT = (0.2, 1.0)  # standard deviation of lens and pixel, in pixels
_SHORT = 0.5  # of the longest extent, for lines and discs


@dataclass(frozen=True)
class DrawnKernel:
    """A blur kernel and how it was made.

    Args:
        values: (n, n) float32, n odd, not negative, sum 1, with the centre of mass in the middle (of files: to
            half a pixel); the blurred image is x * values, a true convolution of the sharp image x.
        kind: of the kernel.
        source: the kind, or the path of the file.
    """

    values: NDArray[np.float32]
    kind: KernelKind
    source: str


class RandomKernels:
    """Draws blur kernels of one size.

    Args:
        size: height and width n of the kernels, odd, at least 11.
        extent: range of the longer side of the drawn shapes in pixels, drawn with equal probability for equal ratios;
            shapes that do not fit into the kernel are scaled down.
        shares: proportion of each kind, see ``SHARES``; None is that default, or only 'file' if there are files.
        files: a kernel file (``.npy`` or an image), or a folder of them (``.npy``, ``.png``), used for the kind 'file'.

    Raises:
        ArgumentError: a size or extent out of range, or shares that do not fit the files.
        DataError: a file is missing, is no kernel, or does not fit into ``size``; the message names it.
    """

    def __init__(
        self,
        size: int = 85,
        extent: tuple[float, float] | None = None,
        shares: Mapping[KernelKind, float] | None = None,
        files: Path | None = None,
    ) -> None:
        if size < 11 or size % 2 == 0:
            raise ArgumentError(f'the size of kernels must be odd and at least 11, got {size}')
        self.size, self.extent = size, extent or (5.0, float(size - 4))
        if not 0 < self.extent[0] <= self.extent[1] <= size:
            raise ArgumentError(f'extent must be an ascending range from above 0 to {size} (the size), got {extent}')
        self.files = [] if files is None else kernel_files(files)
        self._read = [_fitted(path, size) for path in self.files]
        chosen = shares if shares is not None else ({'file': 1.0} if self.files else SHARES)
        if not sum(chosen.values()) > 0 or min(chosen.values()) < 0 or set(chosen) - set(KINDS):
            raise ArgumentError(f'kinds are shares of {", ".join(KINDS)}, not all 0, got {dict(chosen)}')
        if chosen.get('file', 0) > 0 and not self.files:
            raise ArgumentError("kinds: 'file' needs kernel files")
        weights = np.array([chosen.get(kind, 0.0) for kind in KINDS], np.float64)
        self._shares = weights / weights.sum()

    def draw(self, rng: np.random.Generator) -> DrawnKernel:
        """Draw a kernel."""
        kind = KINDS[int(rng.choice(len(KINDS), p=self._shares))]
        if kind == 'file':
            place = int(rng.integers(len(self.files)))
            return DrawnKernel(self._read[place], kind, str(self.files[place]))
        extent, soft = float(np.exp(rng.uniform(*np.log(self.extent)))), float(rng.uniform(*_SOFT))
        reach = self.size // 2 - 1 - 3 * soft  # of the path from its centre, before it is softened
        short = min(extent, _SHORT * self.extent[1])
        if kind == 'disc':
            return DrawnKernel(softened(disc(min(short / 2, reach), self.size), soft), kind, kind)
        if kind == 'line':
            path = straight_path(short, float(rng.uniform(0, np.pi)), 3)
        else:
            smoothness, impulses = (
                float(np.exp(rng.uniform(*np.log(_SMOOTHNESS)))),
                int(rng.integers(_MOST_IMPULSES + 1)),
            )
            path = random_walk(2, rng, smoothness, 1.0, impulses)
            path *= extent / np.ptp(path, axis=0).max()
        return DrawnKernel(softened(rasterised(path, self.size, reach), soft), kind, kind)


def rasterised(path: Floats, size: int, reach: float | None = None) -> Floats:
    """Return the blur kernel of a path: the share of the exposure at each displacement.

    Each point of the path is divided among the four nearest pixels, in proportion to its distances (bilinear), which
    keeps the centre of mass.

    Args:
        path: displacements (T, 2), down and right in pixels, equally spaced in time; it is shifted so that its mean is
            in the middle.
        size: height and width n of the kernel, odd.
        reach: scale longer paths down to this distance from the middle along rows and columns; None refuses them.

    Returns:
        (n, n), sum 1.

    Raises:
        ShapeError: the path does not fit.
    """
    fastest = float(np.linalg.norm(np.diff(path, axis=0), axis=1).max(initial=0)) * (len(path) - 1)
    count = max(len(path), int(np.ceil(_PER_PIXEL * fastest)))
    points = at_times(path, (np.arange(count) + 0.5) / count)
    points = points - points.mean(0)
    farthest, room = float(np.abs(points).max(initial=0)), float(size // 2)
    if reach is not None and farthest > reach:
        points *= reach / farthest
    elif farthest > room:
        raise ShapeError(f'a path that reaches {farthest:.1f} pixels from its centre does not fit into {size}×{size}')
    places = points + size // 2
    first = np.minimum(np.floor(places).astype(np.intp), size - 2)
    beyond = places - first
    kernel = np.zeros(size * size)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weights = np.abs(1 - down - beyond[:, 0]) * np.abs(1 - right - beyond[:, 1])
        kernel += np.bincount((first[:, 0] + down) * size + first[:, 1] + right, weights, size * size)
    return kernel.reshape(size, size) / count


def disc(radius: float, size: int) -> Floats:
    """Return the blur kernel of defocus, a disc whose edge pixels are partly covered: (size, size), sum 1."""
    middle = np.arange(size) - size // 2
    kernel = np.clip(radius + 0.5 - np.hypot(middle[:, None], middle), 0, 1)
    return np.asarray(kernel / kernel.sum())


def softened(kernel: Floats, std: float) -> NDArray[np.float32]:
    """Blur a kernel by a Gaussian of ``std`` pixels; (n, n) float32, sum 1."""
    soft = np.asarray(cv2.GaussianBlur(kernel, (0, 0), std, borderType=cv2.BORDER_CONSTANT))
    return np.asarray(soft / soft.sum(), np.float32)


def kernel_files(path: Path) -> list[Path]:
    """Return a kernel file, or the kernel files of a folder, sorted.

    Raises:
        DataError: missing, or a folder without them.
    """
    if path.is_file():
        return [path]
    wanted = {'.npy', '.png'}
    found = sorted(file for file in path.glob('*') if file.suffix.lower() in wanted) if path.is_dir() else []
    if not found:
        raise DataError(f'{path}: no kernel files (.npy, .png) there; give a file, or a folder of them')
    return found


def convolved(light: Planes, kernel: NDArray[np.float32]) -> Planes:
    """Convolve an image with a kernel and return the valid part.

    Args:
        light: (H, W, C) float32.
        kernel: (n, n), n odd.

    Returns:
        (H − n + 1, W − n + 1, C) float32.

    Raises:
        ShapeError: the kernel is larger than the image.
    """
    side = kernel.shape[0]
    if side > min(light.shape[:2]):
        size = '×'.join(map(str, light.shape[:2]))
        raise ShapeError(f'a kernel of {side}×{side} is larger than the image ({size}); use larger images')
    half, turned = side // 2, np.ascontiguousarray(kernel[::-1, ::-1])  # filter2D correlates
    blurred = cv2.filter2D(light, -1, turned, borderType=cv2.BORDER_CONSTANT)
    whole = np.asarray(blurred, np.float32).reshape(light.shape)  # OpenCV drops the axis of a single channel
    rows, columns = (slice(half, length - half) for length in light.shape[:2])
    return whole[rows, columns]


def _fitted(path: Path, size: int) -> NDArray[np.float32]:
    """Read a kernel, pad it to ``size``, and move its centre of mass to the middle by whole pixels."""
    kernel = read_kernel(path)
    side = kernel.shape[0]
    if side > size:
        raise DataError(f'{path}: a kernel of {side}×{side} exceeds the size {size}×{size}')
    first = [size + side // 2 + round(float(off)) - size // 2 for off in offsets(torch.from_numpy(kernel)[None])]
    cut = np.pad(kernel, size)[first[0] :, first[1] :][:size, :size]
    if not np.isclose(cut.sum(), kernel.sum(), rtol=1e-5):
        raise DataError(f'{path}: its centre of mass is too far from its middle for the size {size}×{size}')
    return np.asarray(cut / cut.sum(), np.float32)
