"""Keep the colours of invisible pixels from bleeding into visible ones."""

from __future__ import annotations

import cv2
import numpy as np

from basicsr.images.arrays import Array


def fill_invisible(colour: Array, alpha: Array | None) -> Array:
    """Give every invisible pixel the colour of the nearest visible one.

    Args:
        colour: (H, W, C).
        alpha: (H, W, 1), 0 for invisible pixels; None without transparency.

    Returns:
        the same array if all pixels or none are visible.
    """
    visible = None if alpha is None else alpha[..., 0] > 0
    if visible is None or visible.all() or not visible.any():
        return colour
    kind, hidden = cv2.DIST_LABEL_PIXEL, (~visible).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(hidden, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=kind)
    by_label = np.zeros((int(nearest.max()) + 1, colour.shape[2]), colour.dtype)
    by_label[nearest[visible]] = colour[visible]
    return np.asarray(by_label[nearest])


def keep_invisible(result: Array, colour: Array, alpha: Array | None) -> Array:
    """Return the result with the colours of the source in invisible pixels.

    Args:
        result: (H, W, C).
        colour: source of the same shape and dtype.
        alpha: see :func:`fill_invisible`.
    """
    return result if alpha is None else np.where(alpha > 0, result, colour)
