"""The interface of mask generators, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.errors import MaskError, OptionError
from basicsr.utils.registry import MASK_GENERATOR_REGISTRY
from basicsr.utils.signature import parameters_of


class MaskGenerator(ABC):
    """Base class of mask generators.

    A generator is a class in a module ``*_generator.py`` of this folder (or anywhere that is imported), registered
    with ``@MASK_GENERATOR_REGISTRY.register(name=...)``. Its constructor arguments are the keys of its block in an
    option file and the flags of ``scripts/make_masks.py``; ``settings`` are stored in the record of the masks.
    """

    name: ClassVar[str]

    @abstractmethod
    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """Make the masks of one photo.

        Args:
            image: (H, W, 3) RGB uint8.

        Returns:
            label map (L, H, W); all zero without masks.
        """

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """All settings that affect the masks, as plain values: thresholds, sizes, hash of the weights, versions."""

    def __call__(self, image: NDArray[Any]) -> NDArray[np.integer[Any]]:
        """Check a photo, and return its :meth:`label_map`.

        Raises:
            MaskError: not (H, W, 3) uint8.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise MaskError(f'a mask generator needs (H, W, 3) uint8 RGB, got {image.dtype} {image.shape}')
        return self.label_map(image)


def build_generator(opt: Mapping[str, Any]) -> MaskGenerator:
    """Build the generator of a block (``type`` and arguments); the block is not changed.

    Raises:
        UnknownNameError: the generator does not exist.
        ArgumentError: the arguments do not fit it.
    """
    return cast(MaskGenerator, MASK_GENERATOR_REGISTRY.build(opt))


def block_of_flags(name: str, checkpoint: str | None, device: str, settings: Iterable[str]) -> dict[str, Any]:
    """Return the block of a generator from command-line flags.

    Args:
        name: name of the generator.
        checkpoint: file with its weights, if it has any.
        device: its device, if it has this argument.
        settings: further arguments, each ``key=value`` with a YAML value.

    Raises:
        UnknownNameError: the generator does not exist.
        OptionError: a setting is not ``key=value`` with a YAML value.
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
        try:
            block[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise OptionError(f"--set '{item}': '{value}' is not a YAML value") from error
    return block
