"""Sharp scenes and their blur by kernels."""

from __future__ import annotations

import cv2
import numpy as np

from basicsr.metrics import calculate_psnr
from tests.helpers.blur_kernels import kernel_of_path
from tests.helpers.scenes import scene


def path_kernel(length: float = 9.0, turn: float = 0.9) -> np.ndarray:
    """The kernel of a bent path of some pixels, centred, (n, n) float32 with sum 1."""
    angle = np.linspace(0, turn, 40)
    steps = np.stack([np.sin(angle + 0.4), np.cos(angle + 0.4)], 1) * length / 40
    path = np.cumsum(steps, 0)
    return kernel_of_path(path - path.mean(0)).astype(np.float32)


def blurred_scene(
    height: int, width: int, kernel: np.ndarray, seed: int = 0, noise: float = 0.004
) -> tuple[np.ndarray, np.ndarray]:
    """A scene of rectangles and its blur: a true convolution, (height, width, 3) float32 in [0, 1] each."""
    margin = kernel.shape[0]
    large = scene(height + 2 * margin, width + 2 * margin, seed).astype(np.float32) / 255
    large = cv2.GaussianBlur(large, (0, 0), 0.6)
    blurred = cv2.filter2D(large, -1, np.ascontiguousarray(kernel[::-1, ::-1]))  # OpenCV correlates
    blurred += np.random.default_rng(seed).normal(0, noise, blurred.shape).astype(np.float32)
    cut = slice(margin, margin + height), slice(margin, margin + width)
    return large[cut], blurred[cut].clip(0, 1)


def gain(result: np.ndarray, before: np.ndarray, gt: np.ndarray, border: int = 15) -> float:
    """PSNR of a result minus that of the input, without a border."""
    inner = slice(border, -border), slice(border, -border)
    values = [calculate_psnr(np.asarray(image, np.float32)[inner], gt[inner]) for image in (result, before)]
    return values[0] - values[1]
