"""Random scenes as image files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from basicsr.data.exposure import to_uint8


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A sharp image with structure at several scales, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for step in (4, 8, 16, 48):
        small = rng.uniform(0, 255, (height // step + 2, width // step + 2, 3)).astype(np.float32)
        image += cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST) / 4
    return to_uint8(image / 255)


def write_images(folder: Path, images: dict[str, np.ndarray]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        cv2.imwrite(str(folder / f'{name}.png'), image[..., ::-1])
    return str(folder)
