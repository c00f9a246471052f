"""Draw label maps: overlays to look at, and folders of gray masks for the CAT method."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from basicsr.images.files import imread, imwrite
from basicsr.masks.files import read_gray
from basicsr.masks.gray_coding import gray_from_label_map
from basicsr.masks.record import claim_mask_folder
from basicsr.utils.errors import MaskError


class Companion(Protocol):
    """Writes a further image for the label map of each photo."""

    def begin(self, settings: dict[str, Any], force: bool) -> None:
        """Begin a run with the settings of the masks.

        Raises:
            MaskError: the folder contains images of other masks, and ``force`` is not set.
        """

    def write(self, name: Path, photo: Path, labels: NDArray[Any], made: bool) -> None:
        """Write the image of one photo.

        Args:
            name: path of the photo, relative to its folder.
            photo: the file.
            labels: its label map (L, H, W).
            made: the label map is new, so an existing image is replaced.
        """


class Overlays:
    """JPEG images of the regions over the photos.

    Args:
        folder: target folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, settings: dict[str, Any], force: bool) -> None:
        """Do nothing: overlays have no record."""

    def write(self, name: Path, photo: Path, labels: NDArray[Any], made: bool) -> None:
        """Draw an overlay."""
        _write((self.folder / name).with_suffix('.jpg'), overlay(read_photo(photo), labels))


class GrayImages:
    """Gray masks of the CAT method, 8-bit PNG, with a record of their settings.

    Args:
        folder: target folder.
        coding: 'fixed', or 'reference' for SAM-Deblur's sums of codes (see ``gray_from_masks``).
    """

    def __init__(self, folder: Path, coding: Literal['fixed', 'reference'] = 'fixed') -> None:
        self.folder, self.coding = folder, coding

    def begin(self, settings: dict[str, Any], force: bool) -> None:
        """Record the settings, or check that they are the same."""
        claim_mask_folder(self.folder, {**settings, 'gray_coding': self.coding}, force)

    def write(self, name: Path, photo: Path, labels: NDArray[Any], made: bool) -> None:
        """Draw a gray mask, unless it exists."""
        path = (self.folder / name).with_suffix('.png')
        if made or not _is_whole(path, labels.shape[1:]):
            _write(path, gray_from_label_map(labels, self.coding))


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    imwrite(path, image)


def _is_whole(path: Path, size: tuple[int, ...]) -> bool:
    try:
        return read_gray(path).shape == size
    except MaskError:
        return False


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read a photo as :func:`eight_bits` returns it.

    Raises:
        ImageFileError: it cannot be read.
    """
    return eight_bits(imread(path, channels=3))


def eight_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert an image to (H, W, 3) RGB uint8, the input of mask generators.

    Args:
        image: (H, W, 1) or (H, W, 3); uint8, uint16 (the upper 8 bits are used), or floating point in [0, 1].
    """
    if image.dtype == np.uint16:
        image = image >> 8
    elif image.dtype != np.uint8:
        image = (image.clip(0, 1) * 255).round()
    return np.ascontiguousarray(np.broadcast_to(image.astype(np.uint8), (*image.shape[:2], 3)))


def overlay(image: NDArray[np.uint8], labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Draw the regions of a photo as tints and outlines.

    Args:
        image: (H, W, 3) RGB uint8.
        labels: label map (L, H, W).
    """
    tints = region_tints(labels)
    shown = image / 255 * (1 - tints[..., 3:]) + tints[..., :3] * tints[..., 3:]
    return np.asarray((shown * 255).round(), np.uint8)


def region_tints(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Draw tints and outlines of regions without the photo, as an overlay.

    Args:
        labels: label map (L, H, W).

    Returns:
        (H, W, 4) RGBA in [0, 1]; alpha is 0 outside of regions, 1 on the outlines.
    """
    from skimage.color import hsv2rgb
    from skimage.segmentation import find_boundaries

    colour = np.zeros((*labels.shape[1:], 3))  # times alpha, until the end
    alpha = np.zeros((*labels.shape[1:], 1))
    for layer in labels:
        hue = (np.arange(layer.max() + 1) * 0.618034) % 1  # neighbouring ids get distant colours
        colours = hsv2rgb(np.stack([hue, np.full_like(hue, 0.8), np.full_like(hue, 0.95)], -1))
        covered = np.where(layer[..., None] > 0, 0.35, 0.0)
        colour, alpha = colour * (1 - covered) + colours[layer] * covered, alpha * (1 - covered) + covered
        outline = find_boundaries(layer, mode='inner')
        colour[outline], alpha[outline] = (1.0, 0.85, 0.1), 1.0
    return np.concatenate([colour / np.maximum(alpha, 1e-9), alpha], -1)
