"""Methods to compare a network with: the blurred image, classical ones without weights, and those of ``deblur.py``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr.images.arrays import Array
from basicsr.inference.deblurrer import Deblurrer
from basicsr.metrics import gaussian_taps
from basicsr.utils.errors import OptionError

METHODS = ('input', 'usm', 'rl', 'kernel', 'network', 'auto')
BASELINES = {'usm': 'unsharp mask', 'rl': 'Richardson-Lucy', 'kernel': 'blur kernels'}
"""The methods without a network, with their names in reports."""


@dataclass(frozen=True)
class Outcome:
    """A result of a method.

    Args:
        image: float32 (H, W, C) in [0, 1], RGB or gray, before rounding.
        chosen: method that the deblurrer chose; the method itself otherwise.
        explanation: why.
        warning: message of the guard; empty without a collapse.
    """

    image: Array
    chosen: str
    explanation: str = ''
    warning: str = ''


Run = Callable[[Array], Outcome]
"""Deblurs an image, float32 (H, W, 3) RGB or (H, W, 1) in [0, 1]."""


def build_methods(names: Iterable[str], model: str | None = None, **arguments: Any) -> dict[str, Run]:
    """Return methods by name; those with a network share its file.

    Args:
        names: of METHODS.
        model: network file or name; None is the bundled network.
        **arguments: of Deblurrer.

    Raises:
        OptionError: unknown method.
        WeightsError: the network cannot be loaded.
    """
    names = list(dict.fromkeys(names))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise OptionError(f'--methods: unknown {", ".join(map(repr, unknown)) or "(none)"}; known: {",".join(METHODS)}')
    plain: dict[str, Run] = {
        'input': lambda image: Outcome(image, 'input'),
        'usm': lambda image: Outcome(sharpened(image), 'usm'),
        'rl': lambda image: Outcome(deconvolved_by_richardson_lucy(image), 'rl'),
    }
    return {
        name: plain.get(name) or functools.partial(by_deblurrer, Deblurrer.load(model, **{**arguments, 'method': name}))
        for name in names
    }


def by_deblurrer(deblurrer: Deblurrer, image: Array) -> Outcome:
    """Deblur an image as basicsr/deblur.py does."""
    done = deblurrer.deblur(image)
    return Outcome(done.image, done.method, done.explanation, done.warning)


def sharpened(image: Array) -> Array:
    """Apply an unsharp mask of sigma 4 and amount 0.1, chosen once, on the synthetic validation pairs."""
    from skimage.filters import unsharp_mask  # slow to import

    # channel_axis=-1 would leave most of the result unset (scikit-image 0.26)
    return np.asarray(unsharp_mask(image, radius=4, amount=0.1, channel_axis=2), np.float32)


def deconvolved_by_richardson_lucy(image: Array, sigma: float = 0.5, rounds: int = 2) -> Array:
    """Deconvolve with a Gaussian by Richardson and Lucy.

    Sigma and rounds were chosen once, on the synthetic validation pairs. The border is mirrored, since scikit-image
    continues it with black.
    """
    from skimage.restoration import richardson_lucy  # slow to import

    taps = gaussian_taps(5, sigma)
    margin = 2 * rounds * (len(taps) // 2)
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode='symmetric')
    planes = [richardson_lucy(plane, np.outer(taps, taps), rounds) for plane in np.moveaxis(padded, 2, 0)]
    return np.stack(planes, 2)[margin:-margin, margin:-margin].astype(np.float32)
