"""Deblur arrays with blur kernels: estimate a kernel, deconvolve with one, assess the blur."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch

from basicsr.deconvolution.assessment import BlurKind
from basicsr.deconvolution.blind import find_kernel
from basicsr.deconvolution.kernels import check_kernel, resized_kernel
from basicsr.deconvolution.nonblind import WEIGHT, deconvolved
from basicsr.deconvolution.photos import SMALLEST, PhotoBlur, find_blur
from basicsr.deconvolution.planes import gray_of, planes_of
from basicsr.images.arrays import Array
from basicsr.utils.errors import ArgumentError, DataError, ShapeError

LARGEST_AREA = (600, 800)
"""Height and width of the middle part of an image in which :func:`estimate_kernel` searches, in pixels."""


@dataclass(frozen=True)
class BlurAssessment:
    """What kind of blur an image has.

    Args:
        kind: ``sharp``; ``uniform``: one kernel explains it; ``varying``: several
            kernels explain it, each a part of the image; ``unknown``: blurred, but no kernel explains it.
        numbers: ``windows``, ``accepted``, ``blur_ratio`` and ``scale``, of the copy that was assessed; and, if a
            kernel is accepted, the numbers of the best one in pixels of that copy, see
            :class:`~basicsr.deconvolution.numbers.KernelNumbers`.
        kernel: (n, n) float32, not negative, sum 1, centred: the kernel that explains its window best; None if none is
            accepted.
        explanation: the result in words.
    """

    kind: BlurKind
    numbers: dict[str, float]
    kernel: Array | None
    explanation: str


def estimate_kernel(image: Array, size: int | None = None) -> Array:
    """Estimate the blur kernel of an image whose blur is the same everywhere.

    The kernel may be wrong if the image is sharp, has little texture, or if its blur varies: see :func:`assess_blur`.

    Args:
        image: (H, W) or (H, W, 3) RGB, uint8, uint16 or float in [0, 1], at least 48 pixels on each side. Of large
            images, the middle 600×800 pixels count.
        size: side of the kernel in pixels, odd; None grows it from 21 to at most 65 while the kernel touches its
            border.

    Returns:
        k, (n, n) float32, not negative, sum 1, centre of mass in the middle; the image is x * k, a true convolution of
        the sharp image x.

    Raises:
        ShapeError: a different shape or dtype, or too few pixels.
        ArgumentError: ``size`` is even, or larger than a third of the image or of its middle part.
        DataError: all pixels of the middle part have the same gray value.
    """
    gray = gray_of(planes_of(image)[0])
    height, width = (min(side, most) for side, most in zip(gray.shape, LARGEST_AREA, strict=True))
    if min(height, width) < SMALLEST:
        raise ShapeError(f'{height}×{width} pixels are too few to estimate a blur kernel; {SMALLEST}×{SMALLEST} needed')
    if size is not None and not (3 <= size <= min(height, width) // 3 and size % 2):
        raise ArgumentError(f'size: expected an odd number from 3 to {min(height, width) // 3}, got {size}')
    top, left = (gray.shape[0] - height) // 2, (gray.shape[1] - width) // 2
    middle = gray[top : top + height, left : left + width].contiguous()
    if bool((middle == middle[0, 0]).all()):
        raise DataError(
            f'the middle {height}×{width} pixels all have the same gray value, so no blur kernel can be estimated; use '
            'another image'
        )
    with torch.inference_mode():
        found = find_kernel(middle, size)
    return found.kernel.numpy()


def deconvolve(image: Array, kernel: Array, weight: float = WEIGHT) -> Array:
    """Deconvolve an image with a known kernel (Krishnan and Fergus, NIPS 2009).

    Pixels clipped at white may have been brighter. Borders are continued smoothly.

    Args:
        image: (H, W) or (H, W, 3) RGB, uint8, uint16 or float in [0, 1].
        kernel: k, (h, w), not negative, h and w odd, at most as large as the image; the image is x * k, a true
            convolution of the sharp image x.
        weight: of the gradients; larger values suppress more noise and give less detail.

    Returns:
        x, of the same shape and dtype.

    Raises:
        ShapeError: the image or the kernel has a different shape or dtype.
        DataError: the kernel has negative values, or only zeros.
        ArgumentError: ``weight`` is not positive.
    """
    if not weight > 0:
        raise ArgumentError(f'weight: expected a positive number, got {weight}')
    planes, back = planes_of(image)
    known = torch.from_numpy(check_kernel(kernel, (planes.shape[-2], planes.shape[-1])))
    with torch.inference_mode():
        return back(deconvolved(planes, known, weight))


def assess_blur(image: Array) -> BlurAssessment:
    """Tell whether blur kernels explain the blur of an image.

    Args:
        image: (H, W) or (H, W, 3) RGB, uint8, uint16 or float in [0, 1].

    Raises:
        ShapeError: a different shape or dtype.
    """
    planes, _ = planes_of(image)
    with torch.inference_mode():
        return assessment_of(find_blur(planes))


def assessment_of(blur: PhotoBlur) -> BlurAssessment:
    """Summarise the blur of the windows of a photo."""
    used, best = blur.used, blur.best
    numbers = {'windows': float(len(blur.windows)), 'accepted': float(len(used))}
    numbers['scale'] = blur.scale
    numbers['blur_ratio'] = median(each.ratio for each in blur.windows)
    if best is None or best.kernel is None or best.numbers is None:
        return BlurAssessment(blur.kind, numbers, None, _explanation(blur))
    kernel = resized_kernel(best.kernel.cpu().numpy(), 1 / blur.scale)
    return BlurAssessment(blur.kind, numbers | best.numbers.as_dict(), kernel, _explanation(blur))


def _explanation(blur: PhotoBlur) -> str:
    used, number = len(blur.used), len(blur.windows)
    if used:
        parts = 'the photo' if number == 1 else f'{used} of {number} windows'
        return f'{"one kernel explains" if blur.kind == "uniform" else "kernels explain"} {parts}'
    reasons = [each.refusal for each in blur.windows if blur.kind == 'sharp' or not each.sharp]
    main = max(dict.fromkeys(reasons), key=reasons.count)
    return 'the photo is sharp' if blur.kind == 'sharp' else f'no kernel explains the blur ({main})'
