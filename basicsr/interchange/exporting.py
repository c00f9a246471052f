"""Export networks as programs for images of any size, and compare programs with their networks."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of, export_obstacle, padding_rule, restored
from basicsr.utils.errors import ArgumentError

RunProgram = Callable[..., Tensor]

TOLERANCE = {torch.float32: 2e-4, torch.float16: 2**-6}
"""Largest accepted difference from PyTorch in float32, relative to the value range; in float16 it is 32 roundings (of
2^-11) in a row."""
COMPARED = ((37, 50), (129, 70), (176, 208), (200, 331))
"""Compared sizes, in addition to the smallest one: odd, even, multiples of 16, larger than the example."""
EXAMPLE = (37, 50)


class _OfImage(nn.Module):
    """A network with float32 input and output that computes in the dtype of its parameters."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, lq: Tensor) -> Tensor:
        return restored(self.net(lq.to(self.dtype))).float()


class _Padded(nn.Module):
    """A network without an input rule whose images are padded by reflection to multiples of its tile size."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.input_rule = padding_rule(contract_of(net))

    def forward(self, lq: Tensor) -> Tensor:
        return self.input_rule.crop(restored(self.net(self.input_rule.pad(lq))), *lq.shape[-2:])


class _OfImageAndMasks(_OfImage):
    def forward(self, lq: Tensor, masks: Tensor) -> Tensor:  # type: ignore[override]
        return restored(self.net(lq.to(self.dtype), masks)).float()


class _OfImageAndKernel(_OfImage):
    def forward(self, lq: Tensor, kernel: Tensor) -> Tensor:  # type: ignore[override]
        return restored(self.net(lq.to(self.dtype), kernel.to(self.dtype))).float()


@dataclass(frozen=True)
class Program:
    """An exported network.

    Args:
        exported: program for one image of any size, ``lq`` (1, C, H, W) float32. The second input of mask-guided
            networks is ``masks`` (1, L, H, W) int64, that of SynthesisNet ``kernel`` (1, h, w) float32. The output
            is ``restored``.
        net: the network in float32.
        names: of the inputs.
        minimum: smallest height and width.
        dtype: of the parameters and the computation.
    """

    exported: torch.export.ExportedProgram
    net: nn.Module
    names: tuple[str, ...]
    minimum: tuple[int, int]
    dtype: torch.dtype = torch.float32


def example_inputs(net: nn.Module, size: tuple[int, int], layers: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Return random inputs for a network: noise, and regions or a kernel if it takes them.

    Args:
        net: the network.
        size: height and width.
        layers: number of layers of the label map; about a third of the pixels have no region in a layer.
        seed: random seed.
    """
    draw = torch.Generator().manual_seed(seed)
    contract = contract_of(net)
    lq = torch.rand(1, contract.in_channels, *size, generator=draw) * contract.input_rule.value_range[1]
    if contract.prior_kind == 'regions':
        drawn = torch.randint(-2, 6, (1, layers, *size), generator=draw)
        return lq, torch.where(drawn > 0, drawn + 5 * torch.arange(layers).view(1, -1, 1, 1), 0)
    if contract.kernel_role == 'takes':
        size_of_kernel: Any = net.kernel_size
        kernel = torch.rand(1, *size_of_kernel, generator=draw)
        return lq, kernel / kernel.sum()
    return (lq,)


def program_of(net: nn.Module, dtype: torch.dtype = torch.float32) -> Program:
    """Export a network for one image of any size.

    Args:
        net: in float32, on the CPU; set to evaluation mode.
        dtype: of the computation, float32 or float16; inputs and output are float32.

    Raises:
        ArgumentError: the network cannot be exported, because its graph depends on the size of the image.
    """
    obstacle = export_obstacle(net)
    if obstacle is not None:
        raise ArgumentError(obstacle)
    contract = contract_of(net)
    if contract.tile_rule.multiple != contract.input_rule.multiple:
        net = _Padded(net)
    inner = net if dtype == torch.float32 else copy.deepcopy(net).to(dtype)
    inputs = example_inputs(net.eval(), EXAMPLE, layers=2)
    sides: dict[int, Any] = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    shapes: tuple[Any, ...] = (sides,)
    names: tuple[str, ...] = ('lq',)
    wrapped = _OfImage(inner, dtype)
    if contract.prior_kind == 'regions':
        wrapped, names = _OfImageAndMasks(inner, dtype), ('lq', 'masks')
        shapes = (sides, {1: torch.export.Dim.DYNAMIC, **sides})
    elif contract.kernel_role == 'takes':
        wrapped, names, shapes = _OfImageAndKernel(inner, dtype), ('lq', 'kernel'), (sides, None)
    with torch.no_grad(), quiet_exporters():
        exported = torch.export.export(wrapped.eval(), inputs, dynamic_shapes=shapes, strict=False)
    rule = contract.tile_rule
    return Program(exported, net, names, (rule.multiple[0] + 1, rule.multiple[1] + 1), dtype)


def largest_difference(program: Program, run: RunProgram, sizes: tuple[tuple[int, int], ...] = COMPARED) -> float:
    """Return the largest difference between a written program and its network.

    It is relative to the value range, or to the largest output if that is larger: outputs of networks with random
    weights exceed the range, and those of RSST grow with the row number.

    Args:
        program: the written program.
        run: function that runs the file.
        sizes: heights and widths; the smallest size of the program is added.
    """
    net, worst = program.net, 0.0
    contract = contract_of(net)
    rule = contract.input_rule
    layers = (1, 2, 3) if contract.prior_kind == 'regions' else (1,)
    for number, size in enumerate((program.minimum, *sizes)):
        inputs = example_inputs(net, size, layers[number % len(layers)], seed=number)
        with torch.no_grad():
            expected = restored(net(*inputs))
            difference = (run(*inputs) - expected).abs().max() / expected.abs().max().clamp(min=rule.value_range[1])
        worst = max(worst, float(difference.nan_to_num(nan=float('inf'))))
    return worst


def program_metadata(program: Program) -> dict[str, str]:
    """Return the metadata of a program: names and sentences as they are, other values as JSON.

    Args:
        program: of a network from ``build_network``.
    """
    from basicsr.version import __version__

    contract = contract_of(program.net)
    net = program.net.net if isinstance(program.net, _Padded) else program.net
    about = {
        'network': type(net).__name__,
        'network_g': json.dumps(contract_of(net).options),
        'value_range': json.dumps(list(contract.input_rule.value_range)),
        'minimum': json.dumps(list(program.minimum)),
        'channel_order': 'RGB',
        'precision': str(program.dtype).removeprefix('torch.'),
        'project': f'basicsr-region-deblur {__version__}',
        'licence': 'The program is Apache-2.0; the weights are under the terms of whoever trained them.',
    }
    if contract.prior_kind == 'regions':
        about['mask_value'] = json.dumps(contract.mask_value)
        about['masks'] = 'label map (1, L, H, W): 0 = no mask in this layer, k = region k; ids differ between layers'
    return about


@contextmanager
def quiet_exporters() -> Iterator[None]:
    """Silence logs and warnings of the exporters of torch."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript')]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
