"""Files of exported programs: ONNX files, and programs of ``torch.export`` (pt2)."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from basicsr.interchange import onnx_opset
from basicsr.interchange.exporting import TOLERANCE, Program, RunProgram, largest_difference, quiet_exporters
from basicsr.utils.errors import ArgumentError, WeightsError
from basicsr.utils.files import write_whole

OPSET = 20
"""Default version of the ONNX operators."""
METADATA = 'metadata.json'
"""Name of the metadata file in programs of ``torch.export``."""


def write_compared(
    program: Program, path: Path, kind: Literal['onnx', 'pt2'], about: Mapping[str, str], opset: int = OPSET
) -> float:
    """Write a program, run the file, and keep it only if its results agree with those of the network.

    Args:
        program: of ``program_of``; it can be written only once.
        path: the new file; its folder must exist.
        kind: format of the file.
        about: metadata.
        opset: version of the ONNX operators.

    Returns:
        the largest difference, see ``largest_difference``.

    Raises:
        WeightsError: the difference exceeds ``TOLERANCE``.
        ArgumentError: see :func:`write_onnx`.
        OSError: the disk is full or the folder cannot be written.
    """
    unchecked = path.with_name(f'.{path.stem}.unchecked.{kind}')
    try:
        if kind == 'onnx':
            write_onnx(program, unchecked, about, opset)
        else:
            write_pt2(program, unchecked, about)
        run, _ = read_onnx(unchecked) if kind == 'onnx' else read_pt2(unchecked)
        difference = largest_difference(program, run)
        if not difference <= TOLERANCE[program.dtype]:
            amount = f'{difference:.1e} of the value range'
            raise WeightsError(f'{path}: not written, because its results differ from PyTorch by {amount}')
        unchecked.replace(path)
    finally:
        unchecked.unlink(missing_ok=True)
    return difference


def write_onnx(program: Program, path: Path, about: Mapping[str, str], opset: int = OPSET) -> None:
    """Write an ONNX file that contains the weights, complete or not at all.

    Args:
        program: of ``program_of``; it can be written only once.
        path: the new file; its folder must exist.
        about: metadata.
        opset: version of the ONNX operators, at least 17.

    Raises:
        ArgumentError: a package is missing, or cannot write that opset.
        OSError: the disk is full or the folder cannot be written.
    """
    check_packages()
    check_opset(opset)
    with torch.no_grad(), quiet_exporters():
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
    write_whole(path, model.SerializeToString())


def write_pt2(program: Program, path: Path, about: Mapping[str, str]) -> None:
    """Write a program of ``torch.export``, complete or not at all. See :func:`write_onnx`."""
    content = io.BytesIO()
    torch.export.save(program.exported, content, extra_files={METADATA: json.dumps(dict(about))})
    write_whole(path, content.getbuffer())


def read_onnx(path: Path) -> tuple[RunProgram, dict[str, str]]:
    """Return a function that runs an ONNX file on the CPU, from tensors to a tensor, and its metadata.

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
        raise WeightsError(f'{path}: onnxruntime cannot run this file ({error})') from error

    def run(*inputs: Tensor) -> Tensor:
        feed = {entry.name: value.numpy() for entry, value in zip(session.get_inputs(), inputs, strict=True)}
        return torch.from_numpy(session.run(None, feed)[0])

    return run, dict(session.get_modelmeta().custom_metadata_map)


def read_pt2(path: Path) -> tuple[RunProgram, dict[str, str]]:
    """Return a function that runs a program of ``torch.export``, and its metadata.

    Raises:
        WeightsError: the file cannot be read.
    """
    extra = {METADATA: ''}
    try:
        run = torch.export.load(path, extra_files=extra).module()
        about = dict(json.loads(extra[METADATA]))
    except Exception as error:
        raise WeightsError(f'{path}: not a program of torch.export with metadata ({type(error).__name__})') from error
    return run, about


def check_packages() -> None:
    """Check that the packages that write and run ONNX files are installed.

    Raises:
        ArgumentError: a package is missing.
    """
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ArgumentError(f"ONNX files need the package {name}; run `pip install -e '.[export]'`") from error


def check_opset(opset: int) -> None:
    """Refuse versions of the ONNX operators that cannot be written.

    Raises:
        ArgumentError: the version is too old or too new.
    """
    newest = onnx_opset.newest()
    if not onnx_opset.OLDEST <= opset <= newest:
        raise ArgumentError(f'opset {opset} is not supported; use {onnx_opset.OLDEST} to {newest}')
