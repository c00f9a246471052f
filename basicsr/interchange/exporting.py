"""Networks written down as programs for images of any size: ONNX files, and programs of ``torch.export``."""

from __future__ import annotations

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr.archs.contract import contract_of, export_obstacle, restored
from basicsr.interchange import onnx_opset
from basicsr.utils.errors import ArgumentError, WeightsError
from basicsr.utils.files import whole_file

Format = Literal['onnx', 'pt2']
Run = Callable[..., Tensor]

OPSET = 20
"""Version of the ONNX operators that are used if nobody asks for another."""
TOLERANCE = {torch.float32: 2e-4, torch.float16: 2**-6}
"""Largest difference from PyTorch in float32 that a program may show, as a share of the value range; in float16 that
is 32 roundings (of 2^-11) one after the other."""
COMPARED = ((37, 50), (129, 70), (176, 208), (200, 331))
"""Sizes at which it is compared, next to the smallest; odd, even, multiples of 16, and larger than the example."""
EXAMPLE = (37, 50)
METADATA = 'metadata.json'
"""Name of the extra file in programs of ``torch.export``."""


class _OfImage(nn.Module):
    """A network that computes in the dtype of its parameters between an input and an output in float32."""

    def __init__(self, net: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.net, self.dtype = net, dtype

    def forward(self, lq: Tensor) -> Tensor:
        return restored(self.net(lq.to(self.dtype))).float()


class _Padded(nn.Module):
    """A network without an input rule, given images that are mirrored to multiples of its tiles."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.input_rule = replace(contract_of(net).tile_rule, padding='reflect')

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
    """A network as a program, before it is written to a file.

    Args:
        exported: for one image of any size, ``lq`` (1, C, H, W) float32; mask-guided networks take ``masks``,
            (1, L, H, W) int64, as well, SynthesisNet ``kernel`` (1, h, w) float32. It returns ``restored``.
        net: what it does the same as, in float32.
        names: of its inputs.
        minimum: smallest height and width.
        dtype: in which it keeps its parameters and computes.
    """

    exported: torch.export.ExportedProgram
    net: nn.Module
    names: tuple[str, ...]
    minimum: tuple[int, int]
    dtype: torch.dtype = torch.float32


def check_exportable(net: nn.Module) -> None:
    """Refuse networks whose graph is not the same for all sizes.

    Raises:
        ArgumentError: says why.
    """
    obstacle = export_obstacle(net)
    if obstacle is not None:
        raise ArgumentError(obstacle)


def check_packages() -> None:
    """Make sure that what writes and runs ONNX files is installed.

    Raises:
        ArgumentError: a package is missing.
    """
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ArgumentError(
                f'an ONNX file takes the package {name}; run `python -m pip install onnx onnxruntime onnxscript` '
                "(or install '.[export]')"
            ) from error


def check_opset(opset: int) -> None:
    """Refuse versions of the ONNX operators that cannot be written.

    Raises:
        ArgumentError: says which can.
    """
    newest = onnx_opset.newest()
    if not onnx_opset.OLDEST <= opset <= newest:
        raise ArgumentError(f'opset {opset} cannot be written, only {onnx_opset.OLDEST} to {newest}')


def example(net: nn.Module, size: tuple[int, int], layers: int = 1, seed: int = 0) -> tuple[Tensor, ...]:
    """Inputs of one size for a network: noise, and regions or a kernel where it takes them.

    Args:
        net: the network.
        size: height and width.
        layers: of the label map; every third pixel or so has no region in a layer.
        seed: of what is drawn.
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
    """Write a network down as a program for one image of any size.

    Args:
        net: in float32, on the CPU; put into evaluation mode.
        dtype: in which the program computes, float32 or float16; inputs and output are float32 in both.

    Raises:
        ArgumentError: it cannot be exported.
    """
    check_exportable(net)
    contract = contract_of(net)
    if contract.tile_rule.multiple != contract.input_rule.multiple:
        net = _Padded(net)
    inner = net if dtype == torch.float32 else copy.deepcopy(net).to(dtype)
    inputs = example(net.eval(), EXAMPLE, layers=2)
    sides: dict[int, Any] = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    shapes: tuple[Any, ...] = (sides,)
    names: tuple[str, ...] = ('lq',)
    wrapped = _OfImage(inner, dtype)
    if contract.prior_kind == 'regions':
        wrapped, names = _OfImageAndMasks(inner, dtype), ('lq', 'masks')
        shapes = (sides, {1: torch.export.Dim.DYNAMIC, **sides})
    elif contract.kernel_role == 'takes':
        wrapped, names, shapes = _OfImageAndKernel(inner, dtype), ('lq', 'kernel'), (sides, None)
    with torch.no_grad(), _quiet():
        exported = torch.export.export(wrapped.eval(), inputs, dynamic_shapes=shapes, strict=False)
    rule = contract.tile_rule
    return Program(exported, net, names, (rule.multiple[0] + 1, rule.multiple[1] + 1), dtype)


def write_onnx(program: Program, path: Path, about: Mapping[str, str], opset: int = OPSET) -> None:
    """Write an ONNX file with the weights in it, whole or not at all.

    Args:
        program: of :func:`program_of`, which is used up: torch writes a program once.
        path: the new file; its folder must exist.
        about: what its metadata say.
        opset: version of the ONNX operators, from 17 on.

    Raises:
        ArgumentError: the packages onnx and onnxscript are not installed, or they or torch cannot write that opset.
        OSError: the disk is full or the folder cannot be written.
    """
    check_packages()
    check_opset(opset)
    with torch.no_grad(), _quiet():
        written: Any = torch.onnx.export(
            program.exported,
            (),
            input_names=list(program.names),
            output_names=['restored'],
            opset_version=max(opset, onnx_opset.EXPORTED),
            dynamo=True,
            verbose=False,
        )
    written.model.metadata_props.update(about)
    model = written.model_proto
    if opset == onnx_opset.OLDEST:
        onnx_opset.to_opset_17(model)
    if onnx_opset.opset_of(model) != opset:
        raise ArgumentError(f'torch {torch.__version__} writes opset {onnx_opset.opset_of(model)} instead of {opset}')
    onnx_opset.tidy(model)
    with whole_file(path) as file:
        file.write(model.SerializeToString())


def write_pt2(program: Program, path: Path, about: Mapping[str, str]) -> None:
    """Write a program of ``torch.export``, whole or not at all; arguments and errors as :func:`write_onnx`."""
    content = io.BytesIO()
    torch.export.save(program.exported, content, extra_files={METADATA: json.dumps(dict(about))})
    with whole_file(path) as file:
        file.write(content.getbuffer())


def read_onnx(path: Path) -> tuple[Run, dict[str, str]]:
    """What runs an ONNX file on the CPU, tensors in and out, and its metadata.

    Raises:
        ArgumentError: the package onnxruntime is not installed.
        WeightsError: the file cannot be read.
    """
    check_packages()
    import onnxruntime as runtime

    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    except Exception as error:
        raise WeightsError(f'{path} is no ONNX file that onnxruntime can run ({error})') from error

    def run(*inputs: Tensor) -> Tensor:
        feed = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run, dict(session.get_modelmeta().custom_metadata_map)


def read_pt2(path: Path) -> tuple[Run, dict[str, str]]:
    """What runs a program of ``torch.export``, and its metadata.

    Raises:
        WeightsError: the file cannot be read.
    """
    extra = {METADATA: ''}
    try:
        run = torch.export.load(path, extra_files=extra).module()
        about = dict(json.loads(extra[METADATA]))
    except Exception as error:
        raise WeightsError(f'{path} is no program of torch.export with metadata ({type(error).__name__})') from error
    return run, about


def largest_difference(program: Program, run: Run, sizes: tuple[tuple[int, int], ...] = COMPARED) -> float:
    """The largest difference of a written program from its network.

    It is told as a share of the value range or, where the network's output is larger, of that: networks with random
    weights leave the range, and RSST's grow with the number of the row.

    Args:
        program: what was written.
        run: what runs the file.
        sizes: heights and widths; the smallest one that the program takes is added.
    """
    net, worst = program.net, 0.0
    contract = contract_of(net)
    rule = contract.input_rule
    layers = (1, 2, 3) if contract.prior_kind == 'regions' else (1,)
    for number, size in enumerate((program.minimum, *sizes)):
        inputs = example(net, size, layers[number % len(layers)], seed=number)
        with torch.no_grad():
            expected = restored(net(*inputs))
            difference = (run(*inputs) - expected).abs().max() / expected.abs().max().clamp(min=rule.value_range[1])
        worst = max(worst, float(difference.nan_to_num(nan=float('inf'))))
    return worst


def describe(program: Program) -> dict[str, str]:
    """The metadata that follow from a program: each value as JSON, but for plain sentences.

    Args:
        program: of a network from ``build_network``.
    """
    from basicsr.version import __version__

    contract = contract_of(program.net)
    net = program.net.net if isinstance(program.net, _Padded) else program.net
    about = {
        'network': type(net).__name__,
        'network_g': json.dumps(getattr(net, 'options', {})),
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
def _quiet() -> Iterator[None]:
    """Without what the exporters tell developers of theirs."""
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
