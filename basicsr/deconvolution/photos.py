"""Deblur a photo with blind kernels, window by window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from basicsr.deconvolution.assessment import LARGER_BLUR, LIMITS, BlurKind, Limits, blur_ratio, refusal
from basicsr.deconvolution.blind import Found, find_kernel, usual_rounds
from basicsr.deconvolution.fourier import shifted
from basicsr.deconvolution.nonblind import deconvolved
from basicsr.deconvolution.numbers import KernelNumbers
from basicsr.deconvolution.planes import gray_of
from basicsr.deconvolution.registration import positions, relative_shift
from basicsr.deconvolution.similarity import kernel_similarity
from basicsr.deconvolution.windows import Window, layout, ramps
from basicsr.utils.measure import release_memory

MAX_KERNELS = 24
SMALLEST = 48
"""Smallest side of a photo, in pixels, for which kernels are estimated."""
STRENGTH = 0.9
"""Factor of the change that a blind kernel makes; the photo itself hides part of the kernel's errors."""
UNIFORM = 0.8
"""Median similarity of the kernels of a photo with uniform blur, at least."""
SMALLER, LEAST_SMALLER = 0.5, 160
"""Factor by which a photo is scaled down if its blur is too large, and the smallest side that it may have then."""
_SECONDS = 0.2
"""Between calls of the progress."""

Progress = Callable[[int, int], None]
"""Called several times a second with the finished and the total number of steps; may raise to stop."""


@dataclass(frozen=True)
class WindowBlur:
    """The blur of one window.

    Args:
        window: in pixels of the scaled photo.
        ratio: see :func:`~basicsr.deconvolution.assessment.blur_ratio`; 1 without contrast.
        refusal: why its kernel is not used; empty if it is.
        sharp: whether it is sharp.
        kernel: (n, n), not negative, sum 1; None if none was estimated.
        numbers: of the kernel; None without one.
        shift: rows and columns by which the deconvolved window moves to match its neighbours.
    """

    window: Window
    ratio: float = 1.0
    refusal: str = ''
    sharp: bool = False
    kernel: Tensor | None = None
    numbers: KernelNumbers | None = None
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class PhotoBlur:
    """The blur of a photo.

    Args:
        kind: ``sharp``; ``uniform``, one kernel for the photo; ``varying``, kernels that differ; or ``unknown``,
            no such kernels.
        scale: of the photo in which the windows lie, at most 1.
        windows: that cover the photo.
    """

    kind: BlurKind
    scale: float
    windows: tuple[WindowBlur, ...]

    @property
    def used(self) -> list[WindowBlur]:
        """Windows whose kernels are used."""
        return [blur for blur in self.windows if blur.kernel is not None and not blur.refusal]

    @property
    def best(self) -> WindowBlur | None:
        """The window whose kernel explains it best, of those that are used; None without any."""
        return min(self.used, key=lambda blur: _white(blur.numbers), default=None)


def _white(numbers: KernelNumbers | None) -> float:
    return 1.0 if numbers is None else numbers.white


def find_blur(
    planes: Tensor,
    *,
    max_kernels: int = MAX_KERNELS,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> PhotoBlur:
    """Estimate the kernels of a photo in overlapping windows, and decide which to use.

    Args:
        planes: (C, H, W) float in [0, 1], C = 1 or 3 (RGB).
        max_kernels: largest number of windows; larger photos are scaled down until they need no more.
        force: use every kernel.
        progress: called with the rounds of the estimation.
    """
    blur = _blur_at(planes, 1.0, max_kernels, force, progress)
    left = max_kernels - sum(each.numbers is not None for each in blur.windows)
    smaller = blur.scale * SMALLER
    if force or not _too_large(blur) or not left or smaller * min(planes.shape[-2:]) < LEAST_SMALLER:
        return blur
    again = _blur_at(planes, smaller, left, force, progress)
    return again if again.used else blur


def _too_large(blur: PhotoBlur) -> bool:
    """Whether no kernel is used since most blur is larger than the largest kernel."""
    refused = sum(each.refusal == LARGER_BLUR for each in blur.windows)
    return not blur.used and refused >= len(blur.windows) / 2


def _blur_at(planes: Tensor, factor: float, max_kernels: int, force: bool, progress: Progress) -> PhotoBlur:
    """Estimate the kernels of a photo scaled by a factor, or by less if there are too many windows."""
    scale, windows = layout(planes.shape[-2], planes.shape[-1], max_kernels, factor)
    gray = gray_of(scaled(planes, scale))
    if min(gray.shape) < SMALLEST:
        return PhotoBlur(
            'unknown', scale, tuple(WindowBlur(each, refusal='the photo is too small') for each in windows)
        )
    blurs = [_without_kernel(window, gray, force) for window in windows]
    parts = {index: window.of(gray) for index, window in enumerate(windows) if not blurs[index].refusal}
    found = _found(parts, len(windows) > 1, progress)
    shifts, agreement = _registered(windows, {index: each.sharp for index, each in found.items()})
    for index, each in found.items():
        numbers = replace(each.numbers, agreement=agreement[index])
        blurs[index] = replace(blurs[index], kernel=each.kernel, numbers=numbers, shift=shifts[index])
    if not force:
        blurs = decided(blurs, LIMITS)
    return PhotoBlur(_kind(blurs), scale, tuple(blurs))


def _without_kernel(window: Window, gray: Tensor, force: bool) -> WindowBlur:
    """Refuse windows without edges or without blur."""
    part = window.of(gray)
    if float(part.std()) * 255 < LIMITS.least_contrast:
        return WindowBlur(window, refusal='too little contrast')
    ratio = blur_ratio(part)
    if ratio < LIMITS.relaxed().least_blur and not force:
        sharp = ratio < LIMITS.sharp
        return WindowBlur(window, ratio, 'sharp' if sharp else 'the blur is too small', sharp)
    return WindowBlur(window, ratio)


def _found(parts: dict[int, Tensor], quick: bool, progress: Progress) -> dict[int, Found]:
    """Estimate the kernels of windows, by their index; on a CPU one window per core at a time."""
    threads, stopped = torch.get_num_threads(), threading.Event()
    workers = 1 if next(iter(parts.values()), torch.empty(0)).is_cuda else threads
    rounds = {index: usual_rounds(part, quick=quick) for index, part in parts.items()}
    finished = dict.fromkeys(parts, 0)

    def find(index: int) -> Found:
        def step() -> None:
            if stopped.is_set():
                raise CancelledError
            finished[index] = min(finished[index] + 1, rounds[index])

        if workers > 1:
            torch.set_num_threads(1)  # small FFTs gain nothing from more
        with torch.inference_mode():
            found = find_kernel(parts[index], quick=quick, step=step)
        finished[index] = rounds[index]
        return found

    with ThreadPoolExecutor(workers) as pool:
        futures = {index: pool.submit(find, index) for index in parts}
        try:
            unfinished = set(futures.values())
            progress(0, sum(rounds.values()))
            while unfinished:
                unfinished = wait(unfinished, _SECONDS).not_done
                progress(sum(finished.values()), sum(rounds.values()))
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
    release_memory()
    return {index: future.result() for index, future in futures.items()}


def _registered(
    windows: Sequence[Window], results: dict[int, Tensor]
) -> tuple[dict[int, tuple[float, float]], dict[int, float]]:
    """Return shift and agreement of each deconvolved window, by its index."""
    number = {index: place for place, index in enumerate(results)}
    pairs, matches = {}, {index: [] for index in results}  # type: ignore[var-annotated]
    for i, first in results.items():
        for j, second in results.items():
            common = windows[i].common(windows[j]) if i < j else None
            if common is None or min(common.height, common.width) < 64:
                continue
            parts = (common.inside(windows[k]).of(result) for k, result in ((i, first), (j, second)))
            rows, columns, match = relative_shift(*parts)
            pairs[number[i], number[j]] = rows, columns, match
            matches[i].append(match)
            matches[j].append(match)
    shifts = positions(len(results), pairs)
    return (
        {index: (float(shifts[place, 0]), float(shifts[place, 1])) for index, place in number.items()},
        {index: median(values) if values else 1.0 for index, values in matches.items()},
    )


def decided(blurs: Sequence[WindowBlur], limits: Limits) -> list[WindowBlur]:
    """Decide which kernels to use.

    If enough windows meet the limits, the others need to meet relaxed limits only. Otherwise no kernel is used: the few
    are likely to have been accepted by chance.
    """
    strict = _judged(blurs, limits)
    if sum(not blur.refusal for blur in strict) >= limits.least_share * len(strict):
        return _judged(blurs, limits.relaxed())
    return [blur if blur.refusal else replace(blur, refusal='most other windows were refused') for blur in strict]


def _judged(blurs: Sequence[WindowBlur], limits: Limits) -> list[WindowBlur]:
    return [
        blur if blur.numbers is None else replace(blur, refusal=refusal(blur.ratio, blur.numbers, limits))
        for blur in blurs
    ]


def _kind(blurs: Sequence[WindowBlur]) -> BlurKind:
    kernels = [blur.kernel for blur in blurs if blur.kernel is not None and not blur.refusal]
    if not kernels:
        return 'sharp' if sum(blur.sharp for blur in blurs) > len(blurs) / 2 else 'unknown'
    alike = [kernel_similarity(one, two) for i, one in enumerate(kernels) for two in kernels[:i]]
    return 'uniform' if not alike or median(alike) >= UNIFORM else 'varying'


def with_kernels(planes: Tensor, blur: PhotoBlur, elsewhere: Tensor | None = None) -> Tensor:
    """Deconvolve the windows of a photo with their kernels, and blend them.

    Args:
        planes: (C, H, W) float in [0, 1].
        blur: from :func:`find_blur`.
        elsewhere: (C, H, W), shown where no kernel is used; None is the photo.

    Returns:
        (C, H, W), not clamped.
    """
    elsewhere = planes if elsewhere is None else elsewhere
    if not blur.used:
        return elsewhere
    small = scaled(planes, blur.scale)
    size = small.shape[-2], small.shape[-1]
    total, share, change = torch.zeros_like(small[:1]), torch.zeros_like(small[:1]), torch.zeros_like(small)
    for each in blur.windows:
        weights = ramps(each.window, size, small)
        each.window.of(total).add_(weights)
        if each.kernel is None or each.refusal:
            continue
        outer = each.window.grown(each.kernel.shape[-1], size)
        sharp = shifted(deconvolved(outer.of(small), each.kernel), *each.shift)
        sharp = each.window.inside(outer).of(sharp)
        each.window.of(change).add_(STRENGTH * weights * (sharp - each.window.of(small)))
        each.window.of(share).add_(weights)
    change, share = change / share.clamp_min(1e-6), share / total
    if blur.scale != 1:
        change, share = (
            F.interpolate(part[None], planes.shape[-2:], mode='bicubic', align_corners=False)[0]
            for part in (change, share)
        )
        share = share.clamp(0, 1)
    return elsewhere + share * (planes + change - elsewhere)


def scaled(planes: Tensor, scale: float) -> Tensor:
    """Scale planes (C, H, W) down with antialiasing; 1 returns them unchanged."""
    if scale == 1:
        return planes
    size = [max(round(side * scale), 1) for side in planes.shape[-2:]]
    return F.interpolate(planes[None], size, mode='bicubic', antialias=True, align_corners=False)[0]
