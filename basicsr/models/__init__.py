"""A network with its losses and optimizer: one training step, and one restoration of a batch."""

from __future__ import annotations

from typing import Any

from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import Options

__all__ = ['ImageRestorationModel', 'build_model']


def build_model(options: Options, **arguments: Any) -> ImageRestorationModel:
    """Build the model of an option file.

    Args:
        options: of an option file; without ``train``, the model can only restore.
        **arguments: of :class:`ImageRestorationModel`: ``processes``, ``dtype``.

    Raises:
        OptionError: the options do not fit each other or this machine.
        WeightsError: the weights to start from do not fit the network.
    """
    return ImageRestorationModel(options, **arguments)
