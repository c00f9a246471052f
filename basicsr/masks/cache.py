"""Cache masks between runs by the content of the image and the settings of the generator."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.masks.files import read_masks, write_label_map
from basicsr.masks.generator import MaskGenerator
from basicsr.masks.record import claim_mask_folder, stamp_of
from basicsr.utils.errors import MaskError

logger = logging.getLogger(__name__)


def default_folder() -> Path:
    """Return ``basicsr/masks`` in the user's cache folder: ``$XDG_CACHE_HOME``, else ``~/.cache``."""
    base = os.environ.get('XDG_CACHE_HOME', '')
    return (Path(base) if Path(base).is_absolute() else Path.home() / '.cache') / 'basicsr' / 'masks'


class MaskCache:
    """A folder of label maps, ``<settings>/<image>.png``; any file in it may be deleted at any time.

    Masks of a damaged file are made again; a folder that cannot be written is reported once and then ignored.

    Args:
        folder: created with the first masks; ``default_folder()`` if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = default_folder() if folder is None else folder
        self._writable = True

    def masks(self, generator: MaskGenerator, image: NDArray[np.uint8]) -> tuple[NDArray[np.integer[Any]], bool]:
        """Return the masks of an image from the cache, or make them.

        Args:
            generator: makes missing masks; each of its settings has its own files.
            image: (H, W, 3) RGB uint8.

        Returns:
            label map (L, H, W), and whether it was in the cache.

        Raises:
            MaskError: a different shape or dtype.
        """
        path = self.path(generator, image)
        if path.is_file():
            try:
                return read_masks(path, (image.shape[0], image.shape[1])), True
            except MaskError as error:
                logger.info('%s; recreating it', error)
        labels = generator(image)
        if self._writable:
            self._write(path, labels, generator.settings)
        return labels, False

    def path(self, generator: MaskGenerator, image: NDArray[np.uint8]) -> Path:
        """Return the path of the masks of an image."""
        content = hashlib.sha256(f'{image.shape}'.encode())
        content.update(np.ascontiguousarray(image).data)
        return self.folder / stamp_of(generator.settings) / f'{content.hexdigest()[:32]}.png'

    def _write(self, path: Path, labels: NDArray[np.integer[Any]], settings: dict[str, Any]) -> None:
        try:
            claim_mask_folder(path.parent, settings, force=True)
            write_label_map(path, labels, compress_level=1)
        except OSError as error:
            self._writable = False
            logger.warning('cannot write the mask cache: %s: %s', self.folder, error.strerror or error)
