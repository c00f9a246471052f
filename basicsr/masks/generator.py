"""The interface of mask generators, and their registry."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
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
    threads: int = 1
    """Images to process at once, each in a thread, so that files are read and written while the network runs."""

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
        return self.label_map(_checked(image))

    def all_of(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.integer[Any]]]:
        """Return the label maps of several photos, as if each was given alone; networks may take them together.

        Raises:
            MaskError: a photo is not (H, W, 3) uint8.
        """
        return [self(image) for image in images]


def _checked(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise MaskError(f'a mask generator needs (H, W, 3) uint8 RGB, got {image.dtype} {image.shape}')
    return image


def build_generator(opt: Mapping[str, Any]) -> MaskGenerator:
    """Build the generator of a block (``type`` and arguments); the block is not changed.

    Raises:
        UnknownNameError: the generator does not exist.
        ArgumentError: the arguments do not fit it.
    """
    return cast(MaskGenerator, MASK_GENERATOR_REGISTRY.build(opt))


def block_of_flags(name: str, checkpoint: str | Path | None, device: str, settings: Iterable[str]) -> dict[str, Any]:
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
        block['checkpoint'] = str(checkpoint)
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


def settings_of(block: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the settings and the number of threads of the generator of a block."""
    generator = build_generator(block)
    return generator.settings, generator.threads


_building = threading.Lock()


class LateGenerator(MaskGenerator):
    """A generator that is built where it is first used, such as in another process.

    Args:
        block: of the generator.
        settings: of the generator, which is built elsewhere to know them, see :func:`settings_of`.
        threads: of the generator.
    """

    def __init__(self, block: Any, settings: dict[str, Any], threads: int = 1) -> None:
        self._block, self._settings, self.threads = block, settings, threads
        self._generator: MaskGenerator | None = None

    def label_map(self, image: NDArray[np.uint8]) -> NDArray[np.integer[Any]]:
        """See :class:`MaskGenerator`."""
        return self._built().label_map(image)

    def all_of(self, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.integer[Any]]]:
        """See :class:`MaskGenerator`."""
        return self._built().all_of(images)

    def _built(self) -> MaskGenerator:
        with _building:  # several threads may use it first
            if self._generator is None:
                generator = build_generator(self._block)
                if generator.settings != self._settings:
                    made = f'{generator.settings}, expected {self._settings}'
                    raise MaskError(f'the mask generator of this machine would make other masks: {made}')
                self._generator = generator
            return self._generator

    @property
    def settings(self) -> dict[str, Any]:
        """See :class:`MaskGenerator`."""
        return dict(self._settings)
