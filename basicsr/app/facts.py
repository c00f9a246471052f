"""What the page's server and its worker process tell each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Report = Callable[[str, int, int], None]
"""Called with the kind of the present step (``kernel``, ``tile``, ...), and the finished and the total number of such
steps; 0 if unknown."""
SAM, NO_MASKS, FELZENSZWALB = 'sam', 'none', 'felzenszwalb'


@dataclass(frozen=True)
class NetworkFacts:
    """Properties of a network that the page shows.

    Args:
        takes_masks: whether it uses masks.
        mask_value: weight of a masked pixel, rounded; None if masks have no weight.
        finds_kernel: whether it estimates the blur kernel of an image.
        kind: name of its class.
        parameters: number of its parameters.
    """

    takes_masks: bool = False
    mask_value: float | None = None
    finds_kernel: bool = False
    kind: str = ''
    parameters: int = 0


@dataclass(frozen=True)
class Settings:
    """How a photo is deblurred.

    Args:
        network: name of the network.
        method: ``auto``, ``kernel`` or ``network``.
        masks: name of the mask generator.
        mask_dropout: share of the masks to drop.
        seed: for choosing them.
        mask_value: weight of a masked pixel; None is the network's own.
    """

    network: str
    method: str = 'network'
    masks: str = FELZENSZWALB
    mask_dropout: float = 0.0
    seed: int = 0
    mask_value: float | None = None


@dataclass(frozen=True)
class ShownResult:
    """Files and messages that the page shows for a deblurred photo.

    Args:
        before: the photo for the screen, JPEG.
        after: the result for the screen, JPEG.
        result: the result in full resolution, as the command line writes it.
        pixels: its pixels without losses, PNG.
        size: width and height in full resolution.
        method: as in :class:`~basicsr.inference.deblurrer.Deblurred`.
        reason: why this method, in words; empty if it was requested.
        sharp: whether the photo looks sharp.
        regions: the photo with its regions; None for networks without masks.
        count: number of regions that the network used.
        kernel: image of the blur kernel; None if none was estimated.
        seconds: from reading the photo to writing the result.
        memory: MiB that the process needed at its peak; None if unknown.
        facts: format and depth in words.
        time: tiles, seconds and device on one line.
        notes: conversions and dropped data.
        warning: message about a collapse; empty without one.
    """

    before: Path
    after: Path
    result: Path
    pixels: Path
    size: tuple[int, int]
    method: str = 'network'
    reason: str = ''
    sharp: bool = False
    regions: Path | None = None
    count: int = 0
    kernel: Path | None = None
    seconds: float = 0.0
    memory: float | None = None
    facts: str = ''
    time: str = ''
    notes: tuple[str, ...] = ()
    warning: str = ''
