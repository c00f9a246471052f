"""Networks by name or file, ready to restore."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.interchange.recognising import network_of
from basicsr.utils.errors import ArgumentError, UnknownNameError, WeightsError, nearest
from basicsr.utils.installation import GIVEN_NETWORKS, IS_CLONE, NETWORK_FILES
from basicsr.weights import safetensors_files
from basicsr.weights.files import Weights, check_fit, load_weights, read_any_weights

logger = logging.getLogger(__name__)

FOLDER = NETWORK_FILES
"""Where the bundled network is; others with names are there or in ``experiments/pretrained_models`` of the current
directory."""
DEFAULT = 'photo_unet'
ALIASES = {'samdeblur_small': DEFAULT}
"""Names of networks that came with earlier versions, and what takes their place."""

_ADVICE = {
    DEFAULT: 'it comes with this repository: restore it with git' if IS_CLONE else 'install the package again',
    'analysis_synthesis': 'docs/networks.md says where the published weights are; '
    'scripts/convert_checkpoint.py turns them into this file',
}
SUFFIXES = (safetensors_files.SUFFIX, '.pth')
"""Of network files; where two have one name, the first counts."""


def find_weights(name_or_path: str | Path | None = None) -> Path:
    """The network file that a name or path means.

    Args:
        name_or_path: the stem of a file in ``experiments/pretrained_models``, with ``-`` or ``_``; else a path; None
            is the network that comes with the repository.

    Raises:
        WeightsError: there is no such file.
    """
    given = str(DEFAULT if name_or_path is None else name_or_path)
    if Path(given).is_file():
        return Path(given)
    known = named_weights()
    name = given.replace('-', '_')
    if name not in known and ALIASES.get(name) in known:
        logger.warning('%s came with an earlier version; %s takes its place', name, ALIASES[name])
        name = ALIASES[name]
    if name in known:
        return known[name]
    if Path(given).is_dir():
        raise WeightsError(f'{given} is a folder, not a network file')
    if name in _ADVICE:
        expected = FOLDER if IS_CLONE or name == DEFAULT else GIVEN_NETWORKS
        raise WeightsError(f'{expected / name} ({" or ".join(SUFFIXES)}) does not exist; {_ADVICE[name]}')
    names = f'; networks with names: {", ".join(sorted(known))}' if known else ''
    raise WeightsError(
        f'{given} does not exist, neither as a file nor in {FOLDER} or {GIVEN_NETWORKS}{nearest(name, known)}{names}'
    )


def named_weights(folder: Path | None = None) -> dict[str, Path]:
    """The network files in a folder by name, with ``_`` for ``-``.

    Args:
        folder: None is ``experiments/pretrained_models`` of the current directory and that of the bundled network,
            whose files win.
    """
    if folder is None:
        return named_weights(GIVEN_NETWORKS) | named_weights(FOLDER)
    files = [path for path in folder.glob('*') if path.suffix in SUFFIXES]
    files.sort(key=lambda path: (path.stem, -SUFFIXES.index(path.suffix)))
    return {path.stem.replace('-', '_'): path for path in files}


def load_network(path: Path, device: torch.device | None = None) -> nn.Module:
    """The network of a file with its weights in float32, in evaluation mode.

    Moving averages of the weights (``params_ema``) are preferred where a file holds them.

    Args:
        path: a checkpoint of this project, or a file whose parameters tell the network.
        device: where it goes; the CPU if None.

    Raises:
        UnsafeWeightsError: the file holds objects that could run code; it was not loaded.
        WeightsError: missing, damaged, or of an unknown network.
    """
    weights = read_any_weights(path, averages=None)
    options = block_of(weights)
    net = build_network(options)
    load_weights(net, weights, adopt_mask_value='mask_value' not in options)
    return net.eval().to(device or torch.device('cpu'))


def block_of(weights: Weights) -> dict[str, Any]:
    """The block that rebuilds the network of a file, made sure of before memory is taken for it.

    Args:
        weights: of :func:`~basicsr.weights.files.read_any_weights`; the file says which network it is, or its
            parameters do.

    Raises:
        WeightsError: an unknown network, one that cannot be built, or one that the parameters do not fit; the file is
            named.
    """
    options = weights.network
    if options is None:
        try:
            options = network_of(weights.state)
        except WeightsError as error:
            raise WeightsError(f'{weights.path}: {error}') from error
    try:
        with torch.device('meta'):  # a damaged file may ask for any amount of memory
            described = build_network(options)
    except (UnknownNameError, ArgumentError, RuntimeError, OverflowError) as error:
        raise WeightsError(f'{weights.path} is of a network that cannot be built here: {error}') from error
    check_fit(described, weights)
    return options
