"""What makes masks of a photo: one small interface, and a registry of those who implement it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError, OptionError
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from basicsr.utils.signature import parameters_of


class MaskGenerator(ABC):
    """Makes the label map of a photo.

    A generator is a class in a module ``*_generator.py`` of this folder (or anywhere that is imported), registered
    with ``@MASK_GENERATOR_REGISTRY.register(name=...)``. Its constructor arguments are the keys of its block in an
    option file and the flags of ``scripts/make_masks.py``; ``settings`` is what a record of the masks states.
    """

    name: ClassVar[str]

    @abstractmethod
    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """The masks of one photo.

        Args:
            image: (H, W, 3) RGB uint8.

        Returns:
            label map (L, H, W); all zero if nothing was found.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All that decides the masks, as plain values: thresholds, working size, hash of the weights, versions."""

    def __call__(self, image: NDArray[Any]) -> NDArray[np.integer[Any]]:
        """:meth:`label_map` of a photo, after checking it.

        Raises:
            MaskError: not (H, W, 3) uint8.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise MaskError(f'masks are made of (H, W, 3) uint8 RGB, got {image.dtype} {image.shape}')
        return self.label_map(image)


def build_generator(opt: Mapping[str, Any]) -> MaskGenerator:
    """Build the generator that a block names (``type`` and arguments); the block is left as it is.

    Raises:
        UnknownNameError: no such generator.
        ArgumentError: the arguments do not fit it.
    """
    generator: MaskGenerator = MASK_GENERATOR_REGISTRY.build(opt)
    return generator


def block_of_flags(name: str, checkpoint: str | None, device: str, settings: Iterable[str]) -> dict[str, Any]:
    """The block of a generator that a command line describes.

    Args:
        name: of the generator.
        checkpoint: file with its weights, if it has any.
        device: where it runs, if it takes one.
        settings: further arguments, each ``key=value`` with a YAML value.

    Raises:
        UnknownNameError: no such generator.
        OptionError: a setting is not ``key=value``.
    """
    import yaml

    block: dict[str, Any] = {'type': name}
    if checkpoint is not None:
        block['checkpoint'] = checkpoint
    if 'device' in parameters_of(MASK_GENERATOR_REGISTRY.get(name)):
        block['device'] = device
    for item in settings:
        key, equals, value = item.partition('=')
        if not equals:
            raise OptionError(f"--set '{item}': write it as key=value, for example points_per_side=16")
        block[key] = yaml.safe_load(value)
    return block
