"""Fifty images that no kernel explains: each is kept, or changed without ringing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from basicsr.deconvolution import assess_blur, deconvolve, estimate_kernel
from basicsr.deconvolution.functions import assessment_of
from basicsr.deconvolution.photos import find_blur, with_kernels
from basicsr.deconvolution.planes import planes_of
from basicsr.inference.collapse_guard import find_collapse
from basicsr.utils.errors import DataError, ShapeError
from tests.helpers.kernel_blur import blurred_scene, path_kernel
from tests.helpers.scenes import scene

SIZE = (110, 130)


def constant(value: float, *size: int) -> np.ndarray:
    return np.full((*(size or SIZE), 3), value, np.float32)


def noise(sigma: float, kind: str = 'normal', seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.5, sigma, (*SIZE, 3)) if kind == 'normal' else rng.random((*SIZE, 3)) < sigma
    return values.clip(0, 1).astype(np.float32)


def text(scale: float, light: float = 0.0) -> np.ndarray:
    page, ink = np.full((*SIZE, 3), 255 * (1 - light), np.uint8), (255 * light,) * 3
    for row in range(3):
        cv2.putText(page, 'Blur 42', (4, 30 + 34 * row), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, 2, cv2.LINE_AA)
    return page.astype(np.float32) / 255


def night(lamps: int, size: int, glow: float = 0.0) -> np.ndarray:
    rng, image = np.random.default_rng(lamps), constant(0.02)
    for row, column in rng.integers(5, 100, (lamps, 2)):
        image[row : row + size, column : column + size] = 1
    image = cv2.GaussianBlur(image * 3, (0, 0), glow) if glow else image
    return (image + rng.normal(0, 0.01, image.shape)).clip(0, 1).astype(np.float32)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stored = cv2.imencode('.jpg', (image * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(stored, cv2.IMREAD_COLOR).astype(np.float32) / 255


def shifting() -> np.ndarray:
    """Two halves that move in different directions."""
    one, two = (blurred_scene(*SIZE, kernel, seed=5)[1] for kernel in (path_kernel(12, 0), path_kernel(12, 0).T))
    one[:, 65:] = two[:, 65:]
    return one


SHARP = scene(*SIZE, 2).astype(np.float32) / 255
BLURRED = blurred_scene(*SIZE, path_kernel(), seed=2)[1]
RAMP = np.tile(np.linspace(0, 1, SIZE[1], dtype=np.float32)[None, :, None], (SIZE[0], 1, 3))
EVEN = {f'constant {value}': constant(value) for value in (0.0, 0.5, 1.0)}
EVEN |= {f'{h}x{w}': constant(0.3, h, w) for h, w in ((1, 1), (1, 200), (200, 1), (47, 300), (48, 48))}
EVEN |= {'one pixel wide': SHARP[:, :1], 'one pixel high': SHARP[:1], 'ramp': RAMP, 'steep ramp': (RAMP * 4).clip(0, 1)}
HARD = {f'noise {sigma}': noise(sigma) for sigma in (0.003, 0.02, 0.1, 0.5)}
HARD |= {f'salt {share}': noise(share, 'salt') for share in (0.01, 0.5)}
HARD |= {f'text {scale} {light}': text(scale, light) for scale in (0.4, 0.8) for light in (0.0, 0.3)}
HARD |= {f'blurred text {sigma}': cv2.GaussianBlur(text(0.8), (0, 0), sigma) for sigma in (1.0, 3.0)}
HARD |= {f'lamps {n} {size} {glow}': night(n, size, glow) for n, size, glow in ((3, 4, 0), (12, 3, 1.5), (6, 9, 4))}
HARD |= {f'1 bit {name}': (image > 0.5).astype(np.float32) for name, image in (('sharp', SHARP), ('blurred', BLURRED))}
HARD |= {f'defocus {sigma}': cv2.GaussianBlur(SHARP, (0, 0), sigma) for sigma in (0.7, 2.0, 6.0, 20.0)}
HARD |= {f'jpeg {quality}': jpeg(BLURRED, quality) for quality in (3, 20)}
HARD |= {f'deblurred {n}': np.asarray(deconvolve(BLURRED, np.ones((n, n))), np.float32) for n in (3, 5)}
HARD |= {'deblurred twice': deconvolve(deconvolve(BLURRED, path_kernel()), path_kernel())}
HARD |= {f'sharpened {a}': (SHARP + a * (SHARP - cv2.GaussianBlur(SHARP, (0, 0), 2))).clip(0, 1) for a in (1, 4)}
HARD |= {'sharp': SHARP, 'two motions': shifting(), 'dark': BLURRED * 0.03, 'overexposed': (BLURRED * 3).clip(0, 1)}
HARD |= {
    'low contrast': BLURRED * 0.05 + 0.4,
    'enlarged': cv2.resize(SHARP[:40, :40], SIZE, interpolation=cv2.INTER_CUBIC),
}
HARD |= {'checkerboard': np.indices((*SIZE, 1)).sum(0).repeat(3, 2) % 2 * np.float32(1), 'stripes': RAMP * 40 % 1}
HARD |= {'frame': np.pad(SHARP, ((20, 20), (20, 20), (0, 0))), 'half black': np.concatenate([SHARP, 0 * SHARP])}
HARD |= {'mosaic': SHARP[::8, ::8].repeat(8, 0).repeat(8, 1), 'inverted': 1 - BLURRED}


def unchanged_or_harmless(image: np.ndarray) -> str:
    """Deblur an image with the kernels that are accepted; return what was decided."""
    planes, _ = planes_of(image)
    blur = find_blur(planes)
    result = with_kernels(planes, blur).clamp(0, 1)
    assert result.isfinite().all() and result.shape == planes.shape
    if not blur.used:
        assert torch.equal(result, planes.clamp(0, 1))
    else:
        assert find_collapse(planes[None], result[None]) is None
        assert float((result - planes).mean().abs()) < 0.01
    return assessment_of(blur).explanation


def test_there_are_fifty():
    assert len(EVEN) + len(HARD) >= 50


@pytest.mark.parametrize('name', EVEN)
def test_images_without_edges_are_kept(name):
    assert unchanged_or_harmless(EVEN[name].clip(0, 1)) != ''
    a = assess_blur(EVEN[name])
    assert a.kernel is None and a.numbers['accepted'] == 0
    if min(EVEN[name].shape[:2]) < 48:
        with pytest.raises(ShapeError, match='too few'):
            estimate_kernel(EVEN[name])
    elif np.ptp(EVEN[name]) == 0:
        with pytest.raises(DataError, match='same gray value'):
            estimate_kernel(EVEN[name])
    else:
        assert estimate_kernel(EVEN[name]).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', HARD)
def test_images_that_no_kernel_explains(name):
    assert unchanged_or_harmless(np.asarray(HARD[name], np.float32).clip(0, 1)) != ''
