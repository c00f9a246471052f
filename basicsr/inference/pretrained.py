"""Find and load networks by name or file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import nn

from basicsr.archs import build_network
from basicsr.interchange.recognising import described_network, network_of
from basicsr.utils.errors import ArgumentError, UnknownNameError, WeightsError, nearest
from basicsr.utils.installation import GIVEN_NETWORKS, IS_CLONE, NETWORK_FILES
from basicsr.weights import safetensors_files
from basicsr.weights.files import Weights, check_fit, load_weights, read_any_weights

logger = logging.getLogger(__name__)

FOLDER = NETWORK_FILES
"""Folder of the bundled network; named networks are in it or in ``experiments/pretrained_models`` of the current
directory."""
DEFAULT = 'photo_unet'
ALIASES = {'samdeblur_small': DEFAULT}
"""Names of networks that earlier versions bundled, and their replacements."""

_ADVICE = {
    DEFAULT: 'it is part of this repository: restore it with git' if IS_CLONE else 'install the package again',
    'analysis_synthesis': 'download the published weights (docs/networks.md) and convert them with '
    'scripts/convert_checkpoint.py',
}
SUFFIXES = (safetensors_files.SUFFIX, '.pth')
"""Extensions of network files; of two files with the same stem, the first extension wins."""


def find_weights(name_or_path: str | Path | None = None) -> Path:
    """Return the path of a network file.

    Args:
        name_or_path: the stem of a file in ``experiments/pretrained_models``, with ``-`` or ``_``; or a path; None is
            the bundled network.

    Raises:
        WeightsError: there is no such file.
    """
    given = str(DEFAULT if name_or_path is None else name_or_path)
    if Path(given).is_file():
        return Path(given)
    known = named_weights()
    name = given.replace('-', '_')
    if name not in known and ALIASES.get(name) in known:
        logger.warning('%s was bundled with an earlier version; using %s instead', name, ALIASES[name])
        name = ALIASES[name]
    if name in known:
        return known[name]
    if Path(given).is_dir():
        raise WeightsError(f'{given} is a folder, not a network file')
    if name in _ADVICE:
        expected = FOLDER if IS_CLONE or name == DEFAULT else GIVEN_NETWORKS
        raise WeightsError(f'{expected / name} ({" or ".join(SUFFIXES)}) does not exist; {_ADVICE[name]}')
    names = f'{nearest(name, known)}; available: {", ".join(sorted(known)) or "none"}'
    raise WeightsError(f'{given} not found: no such file, and no such network in {FOLDER} or {GIVEN_NETWORKS}{names}')


def is_bundled(path: Path) -> bool:
    """Whether a path is the network that comes with the project."""
    return path.stem == DEFAULT and path.resolve().parent == FOLDER.resolve()


def named_weights(folder: Path | None = None) -> dict[str, Path]:
    """Return the network files of a folder by name, with ``_`` for ``-``.

    Args:
        folder: None searches ``experiments/pretrained_models`` of the current directory and the folder of the bundled
            network, which takes precedence.
    """
    if folder is None:
        return named_weights(GIVEN_NETWORKS) | named_weights(FOLDER)
    files = [path for path in folder.glob('*') if path.suffix in SUFFIXES]
    files.sort(key=lambda path: (path.stem, -SUFFIXES.index(path.suffix)))
    return {path.stem.replace('-', '_'): path for path in files}


def load_network(path: Path) -> nn.Module:
    """Load the network of a file in float32 and evaluation mode, with EMA weights (``params_ema``) if it has them.

    Args:
        path: a checkpoint of this project, or a file whose network is recognised by its parameters.

    Raises:
        UnsafeWeightsError: the file contains objects that could run code; it was not loaded.
        WeightsError: the file is missing or damaged, or its network is unknown.
    """
    weights = read_any_weights(path, averages=None)
    options = block_of(weights)
    net = build_network(options)
    load_weights(net, weights, adopt_mask_value='mask_value' not in options)
    return net.eval()


def block_of(weights: Weights) -> dict[str, Any]:
    """Return the options that rebuild the network of a file, checked before memory is allocated.

    Args:
        weights: from :func:`~basicsr.weights.files.read_any_weights`; the file stores the network, or the network is
            recognised by its parameters.

    Raises:
        WeightsError: the network is unknown, cannot be built, or does not fit the parameters; the message names the
            file.
    """
    options = weights.network
    if options is None:
        try:
            options = network_of(weights.state)
        except WeightsError as error:
            raise WeightsError(f'{weights.path}: {error}') from error
    try:
        described = described_network(options, len(weights.state))
    except (UnknownNameError, ArgumentError, RuntimeError, OverflowError) as error:
        raise WeightsError(f'{weights.path}: its network cannot be built here: {error}') from error
    check_fit(described, weights)
    return options
