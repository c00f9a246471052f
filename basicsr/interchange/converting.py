"""Convert network files: other layouts, float16, a weaker residual. Used by ``scripts/convert_checkpoint.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of
from basicsr.archs.nafnet_arch import NAFNetBody
from basicsr.interchange.keras_order import write_keras_pair
from basicsr.utils.errors import WeightsError
from basicsr.utils.files import refuse_existing, whole_file
from basicsr.weights.files import PUBLISHED_MASK_VALUE, Weights

KERAS = 'keras-analysis-synthesis'
SUFFIXES = ('.pth', '.pt', '.ckpt', '.safetensors', '.h5')

_RSST_START = {  # the authors' code does not start without these
    **dict.fromkeys(('best_monitored_value', 'best_psnr', 'best_ssim'), 0.0),
    **dict.fromkeys(('best_monitored_iteration', 'best_monitored_epoch', 'best_monitored_epoch_step'), 0),
}
PUBLISHED: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Any]]] = {
    **dict.fromkeys(('NAFNet', 'NAFNetLocal', 'SegNAFNet', 'SegNAFNetLocal'), lambda state: {'params': dict(state)}),
    'LaKDNet': dict,
    'RSST': lambda state: {'model': {f'module.{key}': value for key, value in state.items()}, **_RSST_START},
}
"""For each network, the content of a file for the authors' code, from the state dict."""


def input_layout(paths: Sequence[Path], layout: str | None = None) -> str:
    """Return the layout of network files: ``torch``, or ``keras-analysis-synthesis`` for ``.h5`` files.

    Args:
        paths: the files.
        layout: the layout, if known.

    Raises:
        WeightsError: the suffixes do not show the layout, or several files contain one network.
    """
    suffixes, names = {path.suffix.lower() for path in paths}, ', '.join(map(str, paths))
    found = layout or (KERAS if suffixes == {'.h5'} else 'torch' if suffixes <= set(SUFFIXES[:4]) else None)
    if found is None:
        raise WeightsError(f'{names}: unknown layout; pass --layout')
    if found == 'torch' and len(paths) > 1:
        raise WeightsError(f'{names}: expected one file (two only for a Keras pair)')
    return found


def check_outputs(paths: Sequence[Path], published: bool) -> None:
    """Refuse names that cannot be written.

    Args:
        paths: new files.
        published: write the layout of the authors, not ours.

    Raises:
        WeightsError: the suffix is unknown or does not fit the layout.
        DataError: a file exists.
    """
    for path in paths:
        refuse_existing(path)
        if path.suffix.lower() not in SUFFIXES:
            raise WeightsError(f'{path}: the name of a network file must end in {", ".join(SUFFIXES)}')
        if path.suffix.lower() == '.h5' and not published:
            raise WeightsError(f'{path}: .h5 is the published layout of the analysis-synthesis pair: --to published')
        if path.suffix.lower() == '.safetensors' and published:
            raise WeightsError(f'{path}: no published layout is .safetensors; omit --to published')
    if len(paths) > 1 and {path.suffix.lower() for path in paths} != {'.h5'}:
        raise WeightsError(f'{paths[1]}: only one file is written; use two names only for a pair in .h5')


def in_order_of(net: nn.Module, weights: Weights) -> Weights:
    """Sort parameters as in the network, and add its mask value.

    Args:
        net: of ``build_network``, with the mask value of these weights.
        weights: its parameters, in any order.
    """
    state, value = {key: weights.state[key] for key in net.state_dict()}, contract_of(net).mask_value
    network = dict(weights.network or {}) | ({} if value is None else {'mask_value': float(value)})
    return replace(weights, state=state, network=network, mask_value=None if value is None else float(value))


def with_strength(weights: Weights, net: nn.Module, strength: float) -> Weights:
    """Scale the residual that a NAFNet adds to its input.

    Raises:
        WeightsError: a different network, or a factor out of range.
    """
    if not isinstance(net, NAFNetBody):  # its last convolution makes the whole residual
        raise WeightsError(f'{weights.path}: --strength is for NAFNet and SegNAFNet, not for {type(net).__name__}')
    if not 0 < strength <= 2:
        raise WeightsError(f'--strength must be above 0 and at most 2, not {strength:g}')
    last = {key: value * strength for key, value in weights.state.items() if key.startswith('ending.')}
    return replace(weights, state={**weights.state, **last})


def in_float16(weights: Weights) -> Weights:
    """Convert parameters to float16.

    Raises:
        WeightsError: a number is too large.
    """
    state = {key: value.half() if value.is_floating_point() else value for key, value in weights.state.items()}
    infinite = [key for key, value in state.items() if value.isinf().any() and not weights.state[key].isinf().any()]
    if infinite:
        raise WeightsError(f'{weights.path}: {infinite[0]} has numbers beyond the range of float16; omit --half')
    return replace(weights, state=state)


def write_published(weights: Weights, net: nn.Module, paths: Sequence[Path]) -> None:
    """Write files for the authors' code.

    Raises:
        WeightsError: the network has no published layout, or its mask value would be lost.
    """
    name, value = type(net).__name__, weights.mask_value
    if paths[0].suffix.lower() == '.h5':
        write_keras_pair(net, weights.state, paths)
        return
    if name not in PUBLISHED:
        where = '.h5' if name in ('AnalysisNet', 'SynthesisNet', 'AnalysisSynthesisNet') else 'our own layout'
        raise WeightsError(f'{paths[0]}: {name} was not published in this form; write it as {where}')
    if value is not None and abs(value - PUBLISHED_MASK_VALUE) > 1e-6 * value:
        raise WeightsError(
            f'{paths[0]}: the published layout has no mask_value, and is read as 1/255; this network has '
            f"{value:.7g}. Write our layout: the authors' code reads its params and ignores the rest"
        )
    with whole_file(paths[0]) as file:
        torch.save(PUBLISHED[name](weights.state), file)
