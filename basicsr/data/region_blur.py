"""Simulate region-wise motion blur: the mean of displaced frames in linear light, with occlusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from basicsr.data.dead_leaves import Layer
from basicsr.data.exposure import Image, Planes, add_noise, to_uint8
from basicsr.utils.errors import ArgumentError, ShapeError

Displacements = NDArray[np.float64]
Sprite = tuple[Planes, int, int]

_FRAME_VALUES = 1 << 22
_PATCH_VALUES = 1 << 16


def render(
    layers: Sequence[Layer],
    size: tuple[int, int],
    paths: Sequence[Displacements | None],
    global_path: Displacements | None = None,
    weights: NDArray[np.float64] | None = None,
    gamma: float = 2.2,
    noise_std: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[Image, Image]:
    """Render a scene while its layers move.

    Args:
        layers: from front to back; the last one is opaque, and its edge pixels are repeated.
        size: height and width of the image.
        paths: displacements (T, 2) of each layer, None for a layer at rest; all of the same T.
        global_path: displacements (T, 2) that are added to all layers.
        weights: (T,), sum 1: how long each displacement lasts; equal if None.
        gamma: gray value = light^(1/gamma); 1 averages gray values.
        noise_std: standard deviation of the noise at mid gray, of white = 1 (see :func:`add_noise`).
        rng: random generator of the noise; required if there is noise.

    Returns:
        lq and gt, (H, W, 3) RGB uint8; gt shows the scene without displacement and without noise.

    Raises:
        ShapeError: the paths do not fit together, or the farthest layer is not opaque.
    """
    shifts = _all_shifts(layers, paths, global_path)
    weights = np.full(shifts.shape[1], 1 / shifts.shape[1]) if weights is None else weights
    if len(weights) != shifts.shape[1]:
        raise ShapeError(f'{len(weights)} weights for paths of {shifts.shape[1]} displacements')
    light = (np.arange(256) / 255).astype(np.float32) ** np.float32(gamma)
    reach = int(np.ceil(np.abs(shifts).max(initial=0))) + 2
    sprites = [_sprite(_within(layer, size, reach), light) for layer in layers[:-1]]
    sprites.append(_sprite(_within(_without_end(layers[-1], size, reach), size, reach), light))
    still = _frames(sprites, np.zeros((len(layers), 1, 2)), size)[0]
    mean = still
    if shifts.any():
        mean = np.zeros_like(still)
        together = max(1, _FRAME_VALUES // still.size)
        for start in range(0, len(weights), together):
            part = slice(start, start + together)
            frames = _frames(sprites, shifts[:, part], size)
            mean += np.einsum('t,tchw->chw', weights[part].astype(np.float32), frames)
    values = _values(mean, gamma)
    if noise_std:
        if rng is None:
            raise ArgumentError('noise needs a random generator: pass rng')
        values = add_noise(values, noise_std, rng)
    return to_uint8(values), to_uint8(_values(still, gamma))


def render_photo(
    sharp: Image,
    labels: NDArray[np.integer[Any]],
    paths: Mapping[int, Displacements],
    global_path: Displacements | None = None,
    weights: NDArray[np.float64] | None = None,
    gamma: float = 2.2,
    noise_std: float = 0.0,
    rng: np.random.Generator | None = None,
    margin: int = 0,
) -> tuple[Image, Image]:
    """Render a photo while its regions move, as :func:`render` does with a scene.

    The pixels behind a nearer region are unknown. Every region is therefore extended underneath the nearer ones, as far
    as they can move apart, with the colour of its own nearest pixel. The background is the photo itself.

    Args:
        sharp: (H, W, 3) RGB uint8.
        labels: (H, W), the region of each pixel.
        paths: displacements (T, 2) of the regions that move, by id, the nearest first; all others are the background.
        global_path, weights, gamma, noise_std, rng: see :func:`render`.
        margin: rows and columns to cut off on each side; they only supply pixels that move into the image.

    Returns:
        lq and gt, (H − 2·margin, W − 2·margin, 3) RGB uint8; gt is ``sharp`` itself there.

    Raises:
        ShapeError: photo, labels and margin, or the paths, do not fit together.
    """
    size = sharp.shape[0] - 2 * margin, sharp.shape[1] - 2 * margin
    if labels.shape != sharp.shape[:2] or margin < 0 or min(size) < 1:
        raise ShapeError(f'photo {sharp.shape}, labels {labels.shape} and margin {margin} do not match')
    reaches = [float(np.abs(path).max(initial=0)) for path in paths.values()]
    layers: list[Layer] = []
    kept: list[Displacements | None] = []
    nearer = np.zeros(labels.shape, np.bool_)
    for (number, path), own in zip(paths.items(), reaches, strict=True):
        mask = labels == number
        if mask.any():
            layers.append(_continued(sharp, mask, nearer, int(np.ceil(own + max(reaches))) + 1, margin))
            kept.append(path)
            nearer |= mask
    rest = ~nearer
    photo = sharp
    if rest.any() and nearer.any():
        near, colours = _nearest(sharp, rest)
        hidden = nearer & (near <= max(reaches) + 1)
        photo = np.where(hidden[..., None], colours, sharp)
    layers.append(Layer(photo, np.ones(labels.shape, np.float32), -margin, -margin))
    return render(layers, size, [*kept, None], global_path, weights, gamma, noise_std, rng)


def _all_shifts(
    layers: Sequence[Layer], paths: Sequence[Displacements | None], global_path: Displacements | None
) -> Displacements:
    """Return the displacement of each layer at each time, (K, T, 2)."""
    if not layers or len(paths) != len(layers) or not (layers[-1].alpha == 1).all():
        raise ShapeError(
            f'{len(layers)} layers and {len(paths)} paths: the numbers must be equal, and the last layer opaque'
        )
    given = [path for path in (*paths, global_path) if path is not None]
    shape = given[0].shape if given else (1, 2)
    if any(path.shape != shape for path in given) or len(shape) != 2 or shape[1] != 2:
        raise ShapeError(
            f'paths of a scene must have the same shape (T, 2), got {sorted({path.shape for path in given})}'
        )
    rest = np.zeros(shape)
    own = np.stack([rest if path is None else path for path in paths])
    return own if global_path is None else own + global_path


def _sprite(layer: Layer, light: Planes) -> Sprite:
    """Return linear RGB (times alpha) and alpha, (4, H + 2, W + 2) with an empty edge, and its place."""
    planes = np.zeros((4, layer.alpha.shape[0] + 2, layer.alpha.shape[1] + 2), np.float32)
    planes[3, 1:-1, 1:-1] = layer.alpha
    planes[:3, 1:-1, 1:-1] = light[layer.image].transpose(2, 0, 1) * layer.alpha
    return planes, layer.top, layer.left


def _without_end(layer: Layer, size: tuple[int, int], reach: int) -> Layer:
    """Return the layer with its edge pixels repeated until it covers the scene wherever it moves."""
    before = [max(0, start + reach) for start in (layer.top, layer.left)]
    ends = layer.top + layer.alpha.shape[0], layer.left + layer.alpha.shape[1]
    after = [max(0, side + reach - end) for side, end in zip(size, ends, strict=True)]
    edges = tuple(zip(before, after, strict=True))
    image = np.pad(layer.image, (*edges, (0, 0)), 'edge')
    return Layer(image, np.pad(layer.alpha, edges, 'edge'), layer.top - before[0], layer.left - before[1])


def _within(layer: Layer, size: tuple[int, int], reach: int) -> Layer:
    """Return the part of the layer that can become visible."""
    rows, columns = (
        slice(max(0, -reach - start), max(0, min(own, side + reach - start)))
        for start, own, side in zip((layer.top, layer.left), layer.alpha.shape, size, strict=True)
    )
    return Layer(
        layer.image[rows, columns], layer.alpha[rows, columns], layer.top + rows.start, layer.left + columns.start
    )


def _frames(sprites: Sequence[Sprite], shifts: Displacements, size: tuple[int, int]) -> Planes:
    """Return the frames (T, 3, H, W) in linear light of displacements (K, T, 2)."""
    frames = np.zeros((shifts.shape[1], 3, *size), np.float32)
    for (planes, top, left), path in zip(reversed(sprites), shifts[::-1], strict=True):
        height, width = planes.shape[1] - 1, planes.shape[2] - 1
        if height < 2 or width < 2:
            continue
        places = path + np.array([top, left])
        corners = np.floor(places).astype(int)
        parts = (places - corners).astype(np.float32)[:, :, None, None, None]
        together = max(1, _PATCH_VALUES // planes.size)
        down = planes[:, :-1] - planes[:, 1:]
        for start in range(0, len(path), together):  # few enough to stay in the processor's cache
            part = parts[start : start + together]
            moved = planes[:, 1:] + part[:, 0] * down
            seen = moved[..., :-1] - moved[..., 1:]
            seen *= part[:, 1]
            seen += moved[..., 1:]
            through = 1 - seen[:, 3:]
            span = slice(start, start + together)
            for frame, (row, column), behind, front in zip(
                frames[span], corners[span].tolist(), through, seen[:, :3], strict=True
            ):
                if row < 0 or column < 0:
                    own = slice(max(0, -row), None), slice(max(0, -column), None)
                    behind, front = behind[:, own[0], own[1]], front[:, own[0], own[1]]
                window = frame[:, max(0, row) : max(0, row + height), max(0, column) : max(0, column + width)]
                if window.shape != front.shape:  # it goes out of sight at the bottom or on the right
                    behind, front = (part[:, : window.shape[1], : window.shape[2]] for part in (behind, front))
                window *= behind
                window += front
    return frames


def _continued(sharp: Image, mask: NDArray[np.bool_], nearer: NDArray[np.bool_], reach: int, margin: int) -> Layer:
    """Return a region of a photo, extended underneath the nearer ones."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    window = (
        slice(max(0, int(rows[0]) - reach), int(rows[-1]) + reach + 1),
        slice(max(0, int(columns[0]) - reach), int(columns[-1]) + reach + 1),
    )
    near, colours = _nearest(sharp[window], mask[window])
    alpha = (mask[window] | (nearer[window] & (near <= reach))).astype(np.float32)
    rows, columns = (np.flatnonzero(alpha.any(axis)) for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    top, left = (outer.start + inner.start - margin for outer, inner in zip(window, box, strict=True))
    return Layer(colours[box], alpha[box], top, left)


def _nearest(image: Image, mask: NDArray[np.bool_]) -> tuple[Planes, Image]:
    """Return, for each pixel, the distance and the colour of the nearest pixel inside the mask."""
    distance, label = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((int(label.max()) + 1, 3), np.uint8)
    table[label[mask]] = image[mask]
    return np.asarray(distance, np.float32), np.where(mask[..., None], image, table[label])


def _values(light: Planes, gamma: float) -> Planes:
    """Return linear light (3, H, W) as gray values (H, W, 3), white = 1."""
    return np.asarray(np.maximum(light, 0).transpose(1, 2, 0) ** np.float32(1 / gamma))
