"""Read network files safely, load them into networks, write them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.utils.errors import WeightsError, nearest, some_of
from basicsr.utils.files import whole_file
from basicsr.weights import safetensors_files
from basicsr.weights.plain_files import load_plain
from basicsr.weights.wrappers import bare, plain_names

logger = logging.getLogger(__name__)

PUBLISHED_MASK_VALUE = 1 / 255  # the original's loader divides boolean masks by 255; its files do not say so
_SHOWN = 12  # differences listed in an error
# in order of preference
_KEYS = ('params', 'params_ema', 'model', 'state_dict', 'model_state_dict', 'net', 'generator')


@dataclass(frozen=True)
class Weights:
    """The content of a network file.

    Args:
        path: the file, for messages.
        state: parameters by name, on the CPU, without prefixes of wrappers (see ``weights/wrappers.py``).
        network: ``type`` and arguments that rebuild the network; None in files of other projects.
        mask_value: weight of a covered pixel in training; None in files of other projects.
        average: the file also contains EMA weights (``params_ema``), which are not in ``state``.
    """

    path: Path
    state: dict[str, Tensor]
    network: dict[str, Any] | None = None
    mask_value: float | None = None
    average: bool = False


def read_weights(path: str | Path, param_key: str | None = 'params') -> Weights:
    """Read a network file as tensors and plain values only, without executing any code in it.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` with ``{'params': state_dict, ...}``.
        param_key: key of the state dict; None if the file itself is the state dict. A ``.safetensors`` file has only
            one set of parameters, which is read for any key but ``params_ema``, unless it contains EMA weights.

    Raises:
        UnsafeWeightsError: the file contains pickled objects other than tensors, plain values and numpy scalars.
        WeightsError: the file is missing or damaged, contains NaN, or has no state dict under that key.
    """
    path = Path(path)
    if safetensors_files.is_one(path):
        return _of_safetensors(path, param_key)
    return weights_under(path, load_plain(path), param_key)


def read_any_weights(path: str | Path, averages: bool | None = False) -> Weights:
    """Read a network file of any project. Errors as for :func:`read_weights`.

    The parameters are under the first of params, params_ema, model, state_dict, model_state_dict, net and generator
    that exists, or the file itself is a state dict, or its only state dict has a different key.

    Args:
        path: see :func:`read_weights`.
        averages: True requires the EMA weights (``params_ema``); None prefers them.
    """
    path = Path(path)
    if safetensors_files.is_one(path):
        return _of_safetensors(path, 'params_ema' if averages else None)
    content = load_plain(path)
    if averages:
        return weights_under(path, content, 'params_ema')
    key = _key_of(path, content)
    wanted = averages is None and key is not None and 'params_ema' in content
    return weights_under(path, content, 'params_ema' if wanted else key)


def _key_of(path: Path, content: Any) -> str | None:
    """Return the key of the parameters; None if the file itself is the state dict."""
    if not isinstance(content, Mapping) or (content and all(map(_is_plain_tensor, content.values()))):
        return None
    holders = [key for key, value in content.items() if isinstance(value, Mapping) and value]
    holders = [key for key in holders if all(map(_is_plain_tensor, content[key].values()))]
    named = [key for key in _KEYS if key in holders]
    if named or len(holders) == 1:
        return str((named or holders)[0])
    several = f'several sets of parameters ({some_of(list(map(str, holders)), 8)})' if holders else 'no parameters'
    raise WeightsError(f'{path} contains {several}; it has {some_of(list(map(str, content)), 8) or "nothing"}')


def weights_under(path: Path, content: Any, param_key: str | None) -> Weights:
    """Return the parameters under a key of a file that was read; see :func:`read_weights`."""
    if not isinstance(content, Mapping):
        raise WeightsError(f'{path} contains a {type(content).__name__}, not a dictionary of parameters')
    if param_key is not None and param_key not in content:
        hint = nearest(str(param_key), map(str, content)) or _other_key(content)
        raise WeightsError(f"{path} has no '{param_key}', only {some_of(list(map(str, content)), 8)}{hint}")
    state = content if param_key is None else content[param_key]
    place = 'the file' if param_key is None else f"'{param_key}'"
    if not isinstance(state, Mapping):
        raise WeightsError(f'{path}: {place} is a {type(state).__name__}, not a dictionary of parameters')
    wrong = [str(key) for key, value in state.items() if not _is_plain_tensor(value)]
    if wrong:
        hint = _other_key(content) if param_key is None else ''
        raise WeightsError(f'{path}: {place} is not a state dict; not plain tensors: {some_of(wrong, 8)}{hint}')
    network, mask_value = (content.get(key) if param_key is not None else None for key in ('network_g', 'mask_value'))
    average = param_key not in (None, 'params_ema') and 'params_ema' in content
    return replace(_weights(path, state, network, mask_value), average=average)


def _of_safetensors(path: Path, param_key: str | None) -> Weights:
    state, about = safetensors_files.read(path)
    if param_key == 'params_ema' and about.get('param_key') != param_key:
        raise WeightsError(f'{path} is not marked as EMA weights (params_ema)')
    if not isinstance(about.get('network_g', {}), Mapping):
        raise WeightsError(f'{path}: network_g in its header is not a mapping; the file is damaged')
    return _weights(path, state, about.get('network_g'), about.get('mask_value'))


def _weights(path: Path, state: Mapping[Any, Tensor], network: Any, mask_value: Any) -> Weights:
    if mask_value is not None and not (type(mask_value) in (int, float) and 0 < mask_value <= 1):
        raise WeightsError(f'{path}: its mask_value is {mask_value!r}, not a number in (0, 1]; the file is damaged')
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(_wide(tensor).isfinite().all()):
            raise WeightsError(f'{path}: {name} contains NaN or infinity; use an earlier file, or one that is whole')
    return Weights(
        path,
        plain_names(state),
        dict(network) if isinstance(network, Mapping) else None,
        None if mask_value is None else float(mask_value),
    )


def _wide(tensor: Tensor) -> Tensor:
    """Return numbers of 8 bits, which torch does not compare, as float32."""
    return tensor.float() if tensor.element_size() == 1 else tensor


def load_weights(
    net: nn.Module, weights: Weights | str | Path, strict: bool = True, adopt_mask_value: bool = False
) -> None:
    """Load the parameters of a file into ``net``.

    Args:
        net: changed in place, unless an error is raised.
        weights: from :func:`read_weights`, or the file.
        strict: require the same names and shapes in file and network; otherwise, load the parameters that fit and log
            the others.
        adopt_mask_value: set the file's mask value in the network instead of comparing them.

    Raises:
        WeightsError: parameters are missing, unexpected or differently shaped, or the mask values differ.
    """
    weights = weights if isinstance(weights, Weights) else read_weights(weights)
    net = bare(net)
    mask_value = agreed_mask_value(net, weights, adopt_mask_value)
    if strict:
        check_fit(net, weights)
    own = plain_names(net.state_dict())
    for line in [] if strict else _first(differences(own, weights.state)):
        logger.warning('%s: not loaded, %s', weights.path, line)
    names = dict(zip(own, net.state_dict(), strict=True))  # parts may be compiled
    fitting = {key: value for key, value in weights.state.items() if key in own and own[key].shape == value.shape}
    net.load_state_dict({names[key]: value for key, value in fitting.items()}, strict=False)
    if mask_value is not None:
        net.mask_value = mask_value  # type: ignore[assignment]


def check_fit(net: nn.Module, weights: Weights) -> None:
    """Compare names and shapes with those of ``net``, which may be on the meta device.

    Raises:
        WeightsError: parameters are missing, unexpected or differently shaped.
    """
    net = bare(net)
    lines = differences(plain_names(net.state_dict()), weights.state)
    if lines:
        detail = '\n  '.join(_first(lines))
        raise WeightsError(f'{weights.path} does not fit {type(net).__name__}:\n  {detail}')


def _first(lines: list[str]) -> list[str]:
    return lines[:_SHOWN] + ([f'... and {len(lines) - _SHOWN} more'] if len(lines) > _SHOWN else [])


def differences(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """List the missing, unexpected and differently shaped parameters of ``state``, compared with ``own``."""
    missing, unexpected = [key for key in own if key not in state], [key for key in state if key not in own]
    lines = [f'missing: {key}{nearest(key, unexpected)}' for key in missing]
    lines += [f'unexpected: {key}{nearest(key, missing)}' for key in unexpected]
    reshaped = [key for key in own if key in state and own[key].shape != state[key].shape]
    return lines + [f'shape: {key} is {tuple(state[key].shape)}, not {tuple(own[key].shape)}' for key in reshaped]


def save_weights(path: str | Path, net: nn.Module, **more: Any) -> None:
    """Write ``{'params': state_dict, 'network_g': ..., 'mask_value': ...}``, complete or not at all.

    Args:
        path: the new file; its folder must exist. See :func:`save_state`.
        net: its ``options`` (from ``build_network``) and ``mask_value`` are also stored, if it has them.
        more: additional entries, tensors and plain values only (``params_ema=...``).

    Raises:
        OSError: the disk is full or the folder cannot be written; an existing file stays.
    """
    net = bare(net)
    for key, value in (('network_g', getattr(net, 'options', None)), ('mask_value', getattr(net, 'mask_value', None))):
        if value is not None:
            more[key] = value
    save_state(path, plain_names(net.state_dict()), **more)


def save_state(path: str | Path, state: Mapping[str, Tensor], **more: Any) -> None:
    """Write parameters and additional entries.

    Args:
        path: ``.safetensors`` with the additional entries as JSON in its header, or any other name for a file of
            ``torch.save`` with the parameters under ``params``. Its folder must exist.
        state: parameters by name, stored in their dtypes.
        more: additional entries, tensors (not in ``.safetensors``) and plain values.

    Raises:
        OSError: the disk is full or the folder cannot be written; an existing file stays.
        WeightsError: ``.safetensors`` cannot store an entry.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f'{path} cannot be written: the folder {path.parent} does not exist')
    state = {key: value.detach().cpu() for key, value in state.items()}
    if safetensors_files.is_one(path):
        safetensors_files.write(path, state, more)
        return
    with whole_file(path) as file:
        torch.save({'params': state, **more}, file)


def agreed_mask_value(net: nn.Module, weights: Weights, adopt: bool) -> float | None:
    """Return the mask value to set in the network; None if it has no mask value, or an equal one.

    Args:
        net: the network.
        weights: of a file; without a mask value, that of published files is assumed, with a warning.
        adopt: return a different value instead of raising an error.

    Raises:
        WeightsError: the values differ.
    """
    if not hasattr(net, 'mask_value'):
        return None
    value = weights.mask_value
    source = '' if value is not None else ' (assumed, as for all published files)'
    if value is None:
        value = PUBLISHED_MASK_VALUE
        logger.warning('%s has no mask_value; assuming 1/255, as in published files', weights.path)
    if abs(value - float(net.mask_value)) <= 1e-6 * value:  # type: ignore[arg-type]
        return None
    if not adopt:
        raise WeightsError(
            f'{weights.path} was trained with mask_value {value:.7g}{source}, the network has {net.mask_value:.7g}: '
            f'its results would be wrong. Set network_g: mask_value: {value:.7g}'
        )
    return value


def _other_key(content: Mapping[Any, Any]) -> str:
    """Return a hint if the file or one of its entries looks like a state dict."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return '; the file looks like a bare state dict: set param_key to null'
    for key, value in content.items():
        if isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            return f"; set param_key to '{key}'"
    return ''


def _is_plain_tensor(value: Any) -> bool:
    """Return whether a value is a dense tensor with data, as parameters are."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
