"""Simulate motion during an exposure as displacements in pixels: straight paths, camera shake, measured kernels.

A path is an array (T, 2) of displacements (down, right) in pixels, equally long in time. The sharp image shows the
scene at the middle of the exposure, so the middle row of every path is zero.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from basicsr.images.arrays import read_npy
from basicsr.images.files import imread
from basicsr.utils.errors import ArgumentError, ImageFileError, ShapeError

Floats = NDArray[np.float64]


def draw_length(rng: np.random.Generator, mean: float, shape: float) -> float:
    """Draw the length of a path in pixels from a gamma distribution.

    Args:
        rng: random generator.
        mean: of the distribution, in pixels; 0 for no motion.
        shape: of the distribution; small values mean many short and a few very long paths.
    """
    return float(rng.gamma(shape, mean / shape))


def samples_for(length: float, most: int = 33) -> int:
    """Return the number of displacements, odd, for steps of at most one pixel on a path of this length.

    Args:
        length: of the longest path of a scene, in pixels.
        most: upper limit, an odd number; beyond it the steps get longer.
    """
    return min(most, 2 * int(np.ceil(length / 2)) + 1)


def straight_path(length: float, angle: float, samples: int) -> Floats:
    """Return a path of constant speed in one direction.

    Args:
        length: in pixels.
        angle: of the direction, in radians; 0 is to the right, a quarter turn is down.
        samples: T, odd.

    Returns:
        displacements (T, 2).
    """
    return (_times(samples) - 0.5)[:, None] * (length * np.array([np.sin(angle), np.cos(angle)]))


def shake_path(length: float, rng: np.random.Generator, samples: int, smoothness: float = 0.3) -> Floats:
    """Draw a camera shake: a random walk whose velocity changes smoothly.

    Args:
        length: along the path, in pixels (up to the rounding of corners between the samples).
        rng: random generator; the number of draws does not depend on ``samples``.
        samples: T, odd.
        smoothness: fraction of the exposure over which the velocity is similar.

    Returns:
        displacements (T, 2).
    """
    walk = random_walk(2, rng, smoothness, reach=0.5)
    walk *= length / np.linalg.norm(np.diff(walk, axis=0), axis=1).sum()
    return at_times(walk - walk[len(walk) // 2], _times(samples))


def random_walk(
    components: int, rng: np.random.Generator, smoothness: float, reach: float, impulses: int = 0
) -> Floats:
    """Draw a walk from 0 through ``components`` dimensions whose velocity changes smoothly, except for impulses.

    Args:
        components: D.
        rng: random generator.
        smoothness: width of the window that smooths the velocity, as a part of the exposure.
        reach: where that window is cut off on either side, as a part of the exposure.
        impulses: number of sudden changes of the velocity at random times, as large as the velocity itself on average.

    Returns:
        (65, D), equally spaced in time.
    """
    steps, beyond = 64, round(64 * reach)
    raw = rng.normal(size=(steps + 2 * beyond, components))
    distance = np.arange(-beyond, beyond + 1) / (smoothness * steps)
    window = np.exp(-2 * distance**2)
    velocity = np.stack([np.convolve(axis, window, 'same')[beyond:-beyond] for axis in raw.T], axis=1)
    for time in rng.integers(1, steps, impulses):
        velocity[time:] += rng.normal(size=components) * float(np.sqrt(np.square(velocity).mean()))
    return np.concatenate([np.zeros((1, components)), np.cumsum(velocity, axis=0)])


def at_times(path: Floats, times: Floats) -> Floats:
    """Interpolate a path at other times of the exposure.

    Args:
        path: displacements (T, 2).
        times: (N,), 0 at the first and 1 at the last row of the path.

    Returns:
        displacements (N, 2).
    """
    own = np.linspace(0, 1, len(path))
    return np.stack([np.interp(times, own, axis) for axis in path.T], axis=1)


def path_of_kernel(kernel: Floats, most: int = 64) -> tuple[Floats, Floats]:
    """Convert a blur kernel to weighted displacements, so that it can be combined with other motion.

    A kernel does not contain the order of its pixels in time; they are sorted along its longest
    axis. With too many pixels, neighbours are merged at their common centre, in blocks that grow until few enough
    are left.

    Args:
        kernel: (H, W), not negative.
        most: number of displacements that may be returned.

    Returns:
        displacements (T, 2) from the pixel nearest to the kernel's centre of mass, and weights (T,) with sum 1.

    Raises:
        ShapeError: not two-dimensional, or without a pixel.
        ArgumentError: negative, not finite, or all zero.
    """
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 2 or not kernel.size:
        raise ShapeError(f'a blur kernel must be an array (H, W), got shape {kernel.shape}')
    if not np.isfinite(kernel).all() or kernel.min() < 0 or kernel.sum() <= 0:
        raise ArgumentError('a blur kernel must be finite, non-negative and not all zero')
    kernel = kernel / kernel.sum()
    kernel = np.where(kernel > 1e-3 * kernel.max(), kernel, 0.0)
    places = np.argwhere(kernel > 0)
    weights = kernel[kernel > 0] / kernel.sum()
    path = places - np.rint(weights @ places)
    block, merged, masses = 1, path, weights
    while len(merged) > most:
        block += 1
        _, group = np.unique(places // block, axis=0, return_inverse=True)
        group = group.reshape(-1)
        masses = np.bincount(group, weights)
        merged = np.stack([np.bincount(group, weights * axis) / masses for axis in path.T], axis=1)
    centred = merged - masses @ merged
    axis = np.linalg.eigh((centred * masses[:, None]).T @ centred)[1][:, -1]
    order = np.argsort(centred @ axis, kind='stable')
    return merged[order], masses[order]


def load_kernel(file: str | Path, most: int = 64) -> tuple[Floats, Floats]:
    """Read a kernel file as weighted displacements.

    Args:
        file: ``.npy`` with an array (H, W), or an image (gray values are the weights).
        most: see :func:`path_of_kernel`.

    Returns:
        displacements (T, 2) and weights (T,).

    Raises:
        ImageFileError: the file is missing or broken.
        ShapeError: not two-dimensional.
        ArgumentError: negative, not finite, or all zero.
    """
    if Path(file).suffix.lower() == '.npy':
        kernel = read_npy(Path(file), ImageFileError, 'a blur kernel')
        if kernel.dtype.kind not in 'biuf':
            raise ImageFileError(f'{file}: a blur kernel must contain numbers, got {kernel.dtype}')
    else:
        kernel = imread(file, channels=1)[:, :, 0]
    try:
        return path_of_kernel(kernel, most)
    except (ShapeError, ArgumentError) as error:
        raise type(error)(f'{file}: {error}') from error


def _times(samples: int) -> Floats:
    """Return times of the exposure from 0 to 1 with 0.5 among them."""
    if samples < 1 or samples % 2 == 0:
        raise ArgumentError(f'a path must have an odd number of samples, got {samples}')
    return np.linspace(0, 1, samples) if samples > 1 else np.array([0.5])
