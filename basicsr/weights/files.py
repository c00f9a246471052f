"""Network files: reading them safely, fitting them to a network, writing them whole or not at all."""

from __future__ import annotations

import logging
import pickle
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr.utils.errors import UnsafeWeightsError, WeightsError, nearest
from basicsr.utils.files import whole_file
from basicsr.weights import safetensors_files
from basicsr.weights.wrappers import bare, plain_names

logger = logging.getLogger(__name__)

PUBLISHED_MASK_VALUE = 1 / 255  # the original's loader divides boolean masks by 255; its files do not say so
_SHOWN = 12  # differences that an error lists
_MAPPINGS = (dict, OrderedDict, Counter)  # Counter: torch's MultiStepLR keeps its milestones in one
_SEQUENCES = (list, tuple, set, torch.Size)
PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, torch.dtype, torch.device)
"""What network files and training states may hold beside tensors, numpy scalars, and containers of all of these."""
_KEYS = ('params', 'params_ema', 'model', 'state_dict', 'model_state_dict', 'net', 'generator')  # by preference


@dataclass(frozen=True)
class Weights:
    """What a network file holds.

    Args:
        path: the file, for messages.
        state: parameters by name, on the CPU, without what wrappers put before the names (see ``weights/wrappers.py``).
        network: ``type`` and arguments that rebuild the network; None in files of other projects.
        mask_value: what a covered pixel weighed in training; None in files of other projects.
        average: whether the file also holds a moving average of the weights (``params_ema``), and these are not it.
    """

    path: Path
    state: dict[str, Tensor]
    network: dict[str, Any] | None = None
    mask_value: float | None = None
    average: bool = False


def read_weights(path: str | Path, param_key: str | None = 'params') -> Weights:
    """Read a network file as tensors and plain values only; nothing in it is ever executed.

    Args:
        path: ``.safetensors``, or a file of ``torch.save`` with ``{'params': state_dict, ...}``.
        param_key: key of the state_dict; None if the file is the state_dict itself. (A ``.safetensors`` file holds one
            set of parameters, whatever the key, but is not taken for averages, ``params_ema``, that it does not hold.)

    Raises:
        UnsafeWeightsError: the file holds pickled objects other than tensors, plain values and numpy scalars.
        WeightsError: the file is missing, damaged, or has no state_dict under that key.
    """
    path = Path(path)
    if safetensors_files.is_one(path):
        return _of_safetensors(path, param_key)
    return _under_key(path, load_plain(path), param_key)


def read_any_weights(path: str | Path, averages: bool | None = False) -> Weights:
    """Read a network file of any project, wherever in it the parameters are; errors as :func:`read_weights`.

    They are under the first of params, params_ema, model, state_dict, model_state_dict, net and generator that holds
    any; or the file itself is a state_dict; or it has one entry that is.

    Args:
        path: see :func:`read_weights`.
        averages: the moving averages (``params_ema``) are wanted, nothing else will do; None takes them where the file
            holds them.
    """
    path = Path(path)
    if safetensors_files.is_one(path):
        return _of_safetensors(path, 'params_ema' if averages else None)
    content = load_plain(path)
    if averages:
        return _under_key(path, content, 'params_ema')
    key = _key_of(path, content)
    wanted = averages is None and key is not None and 'params_ema' in content
    return _under_key(path, content, 'params_ema' if wanted else key)


def _key_of(path: Path, content: Any) -> str | None:
    """Where the parameters are."""
    if not isinstance(content, Mapping) or (content and all(map(_is_plain_tensor, content.values()))):
        return None
    holders = [key for key, value in content.items() if isinstance(value, Mapping) and value]
    holders = [key for key in holders if all(map(_is_plain_tensor, content[key].values()))]
    named = [key for key in _KEYS if key in holders]
    if named or len(holders) == 1:
        return str((named or holders)[0])
    several = f'several sets of parameters ({_listed(map(str, holders))})' if holders else 'no parameters'
    raise WeightsError(f'{path} holds {several}; it has {_listed(map(str, content)) or "nothing"}')


def _under_key(path: Path, content: Any, param_key: str | None) -> Weights:
    if not isinstance(content, Mapping):
        raise WeightsError(f'{path} holds a {type(content).__name__}, not a dictionary of parameters')
    if param_key is not None and param_key not in content:
        hint = nearest(str(param_key), map(str, content)) or _other_key(content)
        raise WeightsError(f"{path} has no '{param_key}', only {_listed(map(str, content))}{hint}")
    state = content if param_key is None else content[param_key]
    place = 'the file' if param_key is None else f"'{param_key}'"
    if not isinstance(state, Mapping):
        raise WeightsError(f'{path}: {place} is a {type(state).__name__}, not a dictionary of parameters')
    wrong = [str(key) for key, value in state.items() if not _is_plain_tensor(value)]
    if wrong:
        hint = _other_key(content) if param_key is None else ''
        raise WeightsError(f'{path}: {place} is no state_dict; not plain tensors: {_listed(wrong)}{hint}')
    network, mask_value = (content.get(key) if param_key is not None else None for key in ('network_g', 'mask_value'))
    average = param_key not in (None, 'params_ema') and 'params_ema' in content
    return replace(_weights(path, state, network, mask_value), average=average)


def _of_safetensors(path: Path, param_key: str | None) -> Weights:
    state, about = safetensors_files.read(path)
    if param_key == 'params_ema' and about.get('param_key') != param_key:
        raise WeightsError(
            f'{path} does not say that it holds moving averages (params_ema), so it is not taken as such'
        )
    if not isinstance(about.get('network_g', {}), Mapping):
        raise WeightsError(f'{path}: network_g in its header describes no network; the file is damaged')
    return _weights(path, state, about.get('network_g'), about.get('mask_value'))


def _weights(path: Path, state: Mapping[Any, Tensor], network: Any, mask_value: Any) -> Weights:
    if mask_value is not None and not (type(mask_value) in (int, float) and 0 < mask_value <= 1):
        raise WeightsError(f'{path}: its mask_value is {mask_value!r}, not a number in (0, 1]; the file is damaged')
    return Weights(
        path,
        plain_names(state),
        dict(network) if isinstance(network, Mapping) else None,
        None if mask_value is None else float(mask_value),
    )


def load_weights(
    net: nn.Module, weights: Weights | str | Path, strict: bool = True, adopt_mask_value: bool = False
) -> None:
    """Put the parameters of a file into ``net``.

    Args:
        net: changed in place, or left as it is if an error is raised.
        weights: from :func:`read_weights`, or the file.
        strict: every parameter of the network must be in the file and the reverse, in the same shape; otherwise
            what fits is loaded and the rest is logged.
        adopt_mask_value: take the file's mask value instead of comparing it with the network's (for callers whose
            user has not named one).

    Raises:
        WeightsError: names missing, unexpected and differently shaped parameters; or another mask value.
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
    """Refuse parameters that are not those of ``net``, name by name and shape by shape; it may be without data.

    Raises:
        WeightsError: names missing, unexpected and differently shaped parameters.
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
    """Write ``{'params': state_dict, 'network_g': ..., 'mask_value': ...}``; the file appears complete or not at all.

    Args:
        path: the new file; its folder must exist. See :func:`save_state`.
        net: its ``options`` (from ``build_network``) and ``mask_value`` are stored where it has them.
        more: further entries, tensors and plain values only (``params_ema=...``).

    Raises:
        OSError: the disk is full or the folder cannot be written; an older file of that name stays.
    """
    net = bare(net)
    for key, value in (('network_g', getattr(net, 'options', None)), ('mask_value', getattr(net, 'mask_value', None))):
        if value is not None:
            more[key] = value
    save_state(path, plain_names(net.state_dict()), **more)


def save_state(path: str | Path, state: Mapping[str, Tensor], **more: Any) -> None:
    """Write parameters and what there is to know about them.

    Args:
        path: ``.safetensors``, whose header takes everything but tensors as JSON; any other name is a file of
            ``torch.save`` with the parameters under ``params``. Its folder must exist.
        state: parameters by name, stored in their dtypes.
        more: further entries, tensors (not in ``.safetensors``) and plain values.

    Raises:
        OSError: the disk is full or the folder cannot be written; an older file of that name stays.
        WeightsError: ``.safetensors`` cannot hold this, or its package is missing.
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


def load_plain(path: Path) -> Any:
    """Everything in a file that ``torch.save`` wrote, if it is tensors and plain values; nothing is executed.

    What counts as plain is said here (``PLAIN``), not by the installed torch, whose list of safe classes grows.

    Raises:
        UnsafeWeightsError: it holds other pickled objects.
        WeightsError: the file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f'{path} ' + ('is a folder, not a network file' if path.is_dir() else 'does not exist'))
    try:
        path.open('rb').close()
    except OSError as error:
        raise WeightsError(f'{path} cannot be read ({error.strerror or error})') from error
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r'(?:GLOBAL|class) ([\w.]*\w)', str(error))
        if found:
            raise _unsafe(path, found[1]) from error
        raise WeightsError(f'{path} is no network file, or it is damaged') from error
    except Exception as error:  # an OSError as well, of files that are cut off
        raise WeightsError(f'{path} is no network file, or it is damaged ({type(error).__name__})') from error
    foreign = _foreign(content)
    if foreign is not None:
        raise _unsafe(path, f'{foreign.__module__}.{foreign.__qualname__}'.removeprefix('builtins.'))
    return content


def _unsafe(path: Path, name: str) -> UnsafeWeightsError:
    return UnsafeWeightsError(
        f'{path} was refused: it holds a pickled {name}, which is no tensor or plain value, and unpickling '
        'it could run code. Ask its authors for a plain state_dict.'
    )


def _foreign(content: Any) -> type | None:
    """The class of the first object in it that is none of ``PLAIN``; None if there is no such object."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind in _MAPPINGS or kind in _SEQUENCES:
            if id(value) not in seen:  # a file may hold a list that contains itself
                seen.add(id(value))
                waiting.extend([*value.keys(), *value.values()] if kind in _MAPPINGS else value)
        elif kind not in PLAIN and not isinstance(value, (Tensor, np.generic)):
            return kind
    return None


def _numpy_scalars() -> list[Any]:
    """Numpy numbers, which published files hold among their plain values, under the names numpy 1 and 2 write."""
    scalar = np.float64(0).__reduce__()[0]  # the function that rebuilds one; its module differs between versions
    dtypes = [type(np.dtype(kind)) for kind in ('f2', 'f4', 'f8', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', '?')]
    names = ('numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar')
    return [*((scalar, name) for name in names), np.dtype, *dtypes]


def agreed_mask_value(net: nn.Module, weights: Weights, adopt: bool) -> float | None:
    """The value that the network is to take over from the file; None if it has none, or the same.

    Args:
        net: whose.
        weights: of a file; one that does not say it counts as published, with a warning.
        adopt: another value than the network's is taken over; an error otherwise.

    Raises:
        WeightsError: they differ.
    """
    if not hasattr(net, 'mask_value'):
        return None
    value = weights.mask_value
    source = '' if value is not None else ' (assumed, as for all published files)'
    if value is None:
        value = PUBLISHED_MASK_VALUE
        logger.warning('%s does not say what its masks weigh; taken as 1/255, as in published files', weights.path)
    if abs(value - float(net.mask_value)) <= 1e-6 * value:  # type: ignore[arg-type]
        return None
    if not adopt:
        raise WeightsError(
            f'{weights.path} belongs to mask_value {value:.7g}{source}, the network has {net.mask_value:.7g}: '
            f'its results would be wrong. Set network_g: mask_value: {value:.7g}'
        )
    return value


def _other_key(content: Mapping[Any, Any]) -> str:
    """A hint at where the parameters are, if the whole file or one of its entries looks like them."""
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return '; it looks like a bare state_dict: set param_key to null'
    for key, value in content.items():
        if isinstance(value, Mapping) and value and all(isinstance(item, Tensor) for item in value.values()):
            return f"; set param_key to '{key}'"
    return ''


def _is_plain_tensor(value: Any) -> bool:
    """Dense numbers in memory; sparse tensors and those without data are no parameters."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def _listed(names: Any) -> str:
    names = list(names)
    return ', '.join(names[:8]) + (f' and {len(names) - 8} more' if len(names) > 8 else '')
