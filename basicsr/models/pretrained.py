"""Networks by name or file, ready to restore."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.utils.errors import ArgumentError, UnknownNameError, WeightsError, nearest
from basicsr.utils.weights import Weights, load_plain, load_weights, read_weights

FOLDER = Path(__file__).resolve().parents[2] / 'experiments' / 'pretrained_models'
"""Where network files with names lie."""
DEFAULT = 'samdeblur_small'

_ADVICE = {
    DEFAULT: 'it comes with this repository: restore it with git',
    'analysis_synthesis': 'docs/networks.md says where the published weights are; '
    'scripts/convert_checkpoint.py turns them into this file',
}
_KEYS = ('params_ema', 'params', 'state_dict', 'model')  # where files keep the parameters, the best ones first


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
    known = {path.stem.replace('-', '_'): path for path in sorted(FOLDER.glob('*.pth'))}
    name = given.replace('-', '_')
    if name in known:
        return known[name]
    if Path(given).is_dir():
        raise WeightsError(f'{given} is a folder, not a network file')
    if name in _ADVICE:
        raise WeightsError(f'{FOLDER / name}.pth does not exist; {_ADVICE[name]}')
    names = f'; networks with names: {", ".join(known)}' if known else ''
    raise WeightsError(f'{given} does not exist, neither as a file nor in {FOLDER}{nearest(name, known)}{names}')


def load_network(path: Path, device: torch.device | None = None) -> nn.Module:
    """The network of a file with its weights in float32, in evaluation mode.

    Args:
        path: a checkpoint of this project, or a file whose keys tell the network.
        device: where it goes; the CPU if None.

    Raises:
        UnsafeWeightsError: the file holds objects that could run code; it was not loaded.
        WeightsError: missing, damaged, or of an unknown network.
    """
    weights = read_weights(path, _key_of(path))
    options = weights.network if weights.network is not None else _recognised(weights)
    try:
        net = build_network(options)
    except (UnknownNameError, ArgumentError) as error:
        raise WeightsError(f'{path} is of a network that cannot be built here: {error}') from error
    load_weights(net, weights, adopt_mask_value='mask_value' not in options)
    return net.eval().to(device or torch.device('cpu'))


def _key_of(path: Path) -> str | None:
    content = load_plain(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f'{path} holds a {type(content).__name__}, not a dictionary of parameters')
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return None
    return next((key for key in _KEYS if isinstance(content.get(key), Mapping)), 'params')


def _recognised(weights: Weights) -> dict[str, Any]:
    """The block of the network that a file of another project belongs to."""
    raise WeightsError(
        f'{weights.path} does not say which network it belongs to (no network_g); use a checkpoint of this project'
    )
