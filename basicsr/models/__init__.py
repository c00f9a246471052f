"""What one training step and one restoration of a batch are: network, losses and optimizer under one roof."""

from __future__ import annotations

from typing import Any

from basicsr.options import Options
from basicsr.utils.registry import MODEL_REGISTRY

__all__ = ['MODEL_REGISTRY', 'build_model']


def build_model(options: Options, **arguments: Any) -> Any:
    """Build the model that ``options.model_type`` names.

    Args:
        options: of an option file; without ``train`` the model restores only.
        **arguments: of the class (``processes``, ``dtype``).

    Raises:
        UnknownNameError: no such model.
        OptionError: the options do not fit each other or this machine.
        WeightsError: the weights to start from do not fit the network.
    """
    return MODEL_REGISTRY.get(options.model_type)(options, **arguments)
