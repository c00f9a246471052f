"""Keep the colours of invisible pixels away from the visible ones beside them."""

from __future__ import annotations

import cv2
import numpy as np

from basicsr.utils.image import Array


def fill_invisible(colour: Array, alpha: Array | None) -> Array:
    """Colours in which every invisible pixel has that of the nearest visible one, so that none bleeds into the rim.

    Args:
        colour: (H, W, C).
        alpha: (H, W, 1), 0 where nothing is visible; None without transparency.

    Returns:
        the same array where all or nothing is visible.
    """
    visible = None if alpha is None else alpha[..., 0] > 0
    if visible is None or visible.all() or not visible.any():
        return colour
    _, nearest = cv2.distanceTransformWithLabels(
        (~visible).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    by_label = np.zeros((int(nearest.max()) + 1, colour.shape[2]), colour.dtype)
    by_label[nearest[visible]] = colour[visible]
    return np.asarray(by_label[nearest])


def keep_invisible(result: Array, colour: Array, alpha: Array | None) -> Array:
    """The result with the colours of the source where nothing is visible.

    Args:
        result: (H, W, C).
        colour: of the same shape and dtype.
        alpha: see :func:`fill_invisible`.
    """
    return result if alpha is None else np.where(alpha > 0, result, colour)
