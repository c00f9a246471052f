"""Export a network for other runtimes, for images of any size, and compare the result with PyTorch.

Formats:
    onnx   for onnxruntime and others; needs the packages of '.[export]': onnx, onnxruntime, onnxscript
    pt2    a program of torch.export; torch.export.load runs it without the code of this project

Examples:
    python scripts/export.py --model experiments/NAFNet-GoPro/models/net_g_latest.pth --format onnx
    python scripts/export.py -opt options/test/GoPro/SAMDeblur.yml --model SegNAFNet-GoPro.pth --format onnx

The input is lq (1, 3, H, W) float32 RGB; mask-guided networks also take masks, a label map (1, L, H, W) int64. The
output is restored. No padding is needed. --model reads a network file of any project. -opt names the network if the
parameters do not identify it (NAFNetLocal); without --model, the weights are its path.pretrain_network_g. Use --opset
17 for older runtimes, and --half for runtimes that are faster in float16.
"""

from __future__ import annotations

import argparse
import runpy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

if TYPE_CHECKING:
    from basicsr.weights.files import Weights


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.options.loading import add_force

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', metavar='FILE', help='option file whose network_g is exported')
    add_force(parser)
    parser.add_argument('--model', type=Path, metavar='FILE', help='network file of any project: .pth or .safetensors')
    parser.add_argument('--ema', action='store_true', help='use the EMA weights (params_ema) of --model')
    parser.add_argument('--format', choices=['onnx', 'pt2'], default='onnx', help='output format (default: onnx)')
    parser.add_argument('--half', action='store_true', help='compute in float16; inputs and output stay float32')
    parser.add_argument('--opset', type=int, metavar='N', help='version of the ONNX operators (default: 20)')
    output_help = 'output file; default: MODEL.FORMAT in the current folder'
    parser.add_argument('--output', type=Path, metavar='FILE', help=output_help)
    arguments = parser.parse_args()
    if arguments.opt is None and arguments.model is None:
        parser.error('-opt or --model is required')
    if arguments.opset is not None and arguments.format != 'onnx':
        parser.error(f'--opset is for --format onnx, not {arguments.format}')
    return arguments


def read(arguments: argparse.Namespace) -> tuple[Any, Weights]:
    """Return the network in evaluation mode, and its weights.

    Raises:
        BasicsrError: no weights are named, or they do not fit.
    """
    from basicsr.archs import build_network
    from basicsr.inference.pretrained import block_of
    from basicsr.models.misfit import load_or_explain
    from basicsr.options import load_options
    from basicsr.utils.errors import OptionError
    from basicsr.utils.registry import plain_block
    from basicsr.weights.files import read_any_weights, read_weights

    options = load_options(arguments.opt, arguments.force_yml) if arguments.opt else None
    if arguments.model is not None:
        weights = read_any_weights(arguments.model, averages=arguments.ema)
    elif options is not None and options.path.pretrain_network_g is not None:
        weights = read_weights(options.path.pretrain_network_g, options.path.param_key)
    else:
        raise OptionError(f'{arguments.opt} does not set path.pretrain_network_g; pass --model FILE')
    block = plain_block(options.network_g, 'network') if options else block_of(weights)
    net = build_network(block)
    load_or_explain(net, weights, adopt_mask_value='mask_value' not in block, evaluating=True)
    return net.eval(), replace(weights, network=block)


def main() -> int:
    """Read, export, compare, and print a summary."""
    arguments = parse()
    import torch

    from basicsr.interchange import exporting, program_files
    from basicsr.utils.files import refuse_existing, sha256_of

    net, weights = read(arguments)
    output = arguments.output or Path(f'{weights.path.stem}.{arguments.format}')
    refuse_existing(output)
    opset = program_files.OPSET if arguments.opset is None else arguments.opset
    if arguments.format == 'onnx':
        program_files.check_packages()
        program_files.check_opset(opset)
    program = exporting.program_of(net, torch.float16 if arguments.half else torch.float32)
    about = exporting.program_metadata(program)
    about |= {'checkpoint': weights.path.name, 'checkpoint_sha256': sha256_of(weights.path)}
    output.parent.mkdir(parents=True, exist_ok=True)
    difference = program_files.write_compared(program, output, arguments.format, about, opset)
    height, width = program.minimum
    form = ', float16' if arguments.half else ''
    form += f', opset {opset}' if arguments.format == 'onnx' else ''
    print(f'{output}: {type(net).__name__}, {output.stat().st_size / 2**20:.1f} MiB{form}')
    print(f'inputs: {", ".join(program.names)}; at least {height}×{width} pixels')
    sizes = len(exporting.COMPARED) + 1
    print(f'largest difference from PyTorch at {sizes} sizes: {difference:.1e} of the value range')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
