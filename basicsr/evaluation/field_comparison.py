"""The effective receptive fields of several networks on the same crops."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from basicsr.archs.activation_checkpointing import checkpoint_activations
from basicsr.archs.contract import contract_of
from basicsr.evaluation.field_inputs import Crop, inputs_of
from basicsr.evaluation.receptive_field import Gradient, ReceptiveField, centre_gradient, field_of
from basicsr.masks.generator import MaskGenerator
from basicsr.models import build_model
from basicsr.options import Options
from basicsr.training.distributed import Processes
from basicsr.utils.errors import DataError, some_of
from basicsr.utils.measure import peak_memory
from basicsr.weights.files import read_weights

logger = logging.getLogger(__name__)


def network_of(options: Options, device: torch.device, checkpointing: bool = True) -> tuple[nn.Module, str]:
    """Build the network of an option file, for gradients with respect to its input.

    The weights are those of ``path.pretrain_network_g``, else those of ``experiments/<name>`` (EMA weights if there are
    any), else random ones. In an option file for training, the first are where training starts: the others come first.

    Args:
        options: of an option file.
        device: of the network.
        checkpointing: use activation checkpointing where the network declares blocks: a fraction of the memory.

    Returns:
        the network in evaluation mode, and a description of its weights.

    Raises:
        WeightsError: the weights do not fit.
    """
    file = options.path.pretrain_network_g
    trained = Path('experiments') / options.name / 'models' / 'net_g_latest.pth'
    path = options.path
    if trained.is_file() and (file is None or options.train is not None):
        key = 'params_ema' if read_weights(trained).average else 'params'
        file, path = str(trained), path.model_copy(update={'pretrain_network_g': str(trained), 'param_key': key})
    model = build_model(options.model_copy(update={'train': None, 'path': path}), processes=Processes(device=device))
    net = model.net.eval()
    if checkpointing and contract_of(net).block_types:
        checkpoint_activations(net)
    return net, 'random weights' if file is None else str(file)


def fields_of(
    nets: Mapping[str, nn.Module], crops: Sequence[Crop], generator: MaskGenerator, device: torch.device
) -> dict[str, ReceptiveField]:
    """Compute the receptive fields of networks on the same crops.

    Crops whose centre is clipped in the output of any network are left out for all, because clipped values have no
    gradient. The log states the time and the memory of each network.

    Args:
        nets: in evaluation mode, by name.
        crops: of one size.
        generator: makes masks for networks that need them, where the crops have none.
        device: of the networks.

    Returns:
        the fields by name; mask-guided networks have a second one, without the paths through the prior.

    Raises:
        DataError: the centre of every crop is clipped.
        BasicsrError: as :func:`~basicsr.evaluation.receptive_field.centre_gradient` and
            :func:`~basicsr.evaluation.receptive_field.field_of`.
    """
    found: dict[tuple[str, str], list[Gradient]] = {}
    saturated: dict[int, str] = {}
    for name, net in nets.items():
        start, most = time.perf_counter(), 0.0
        for number, crop in enumerate(crops):
            inputs = inputs_of(net, crop, generator, device)
            result, memory = peak_memory(lambda net=net, inputs=inputs: centre_gradient(net, *inputs), device)  # type: ignore[misc]
            most = max(most, memory or 0.0)
            if result.saturated:
                saturated[number] = f'{crop.name} ({name})'
            for path, gradient in result.paths.items():
                found.setdefault((name, path), []).append(gradient)
        seconds = (time.perf_counter() - start) / len(crops)
        logger.info('%s: %.1f s and %.0f MiB for each crop of %d', name, seconds, most, crops[0].image.shape[-1])
    if saturated:
        text = 'left out, since the output is clipped at their centre: %d of %d crops: %s'
        logger.warning(text, len(saturated), len(crops), some_of(list(saturated.values()), 3))
    if len(saturated) == len(crops):
        raise DataError(
            'the output is clipped at the centre of every crop, so there is no gradient; use images with a centre that '
            'is neither black nor white'
        )
    fields = {}
    for (name, path), gradients in found.items():
        kept = [gradient for number, gradient in enumerate(gradients) if number not in saturated]
        contract = contract_of(nets[name])
        channels = contract.out_channels if contract.adds_image else None
        fields[f'{name}, {path}' if path else name] = field_of(kept, channels, name)
    return fields
