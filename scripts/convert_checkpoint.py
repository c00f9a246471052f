"""Convert network files of other projects to ours, ours to theirs, and .pth to .safetensors or back.

Input layouts:
    ours                       {'params': ..., 'network_g': ..., 'mask_value': ...} in .pth or .safetensors
    published .pth files       of NAFNet, SegNAFNet (under params), LaKDNet (bare) and RSS-T (under model): the network
                               is recognised by its parameters
    keras-analysis-synthesis   analysis_weights.h5 and synthesis_weights.h5 of analysis-synthesis deblurring, in this
                               order (needs h5py: python -m pip install h5py)

Output layouts: ours (--to ours), or the layout above that the authors' own code reads (--to published).

Examples:
    python scripts/convert_checkpoint.py --input NAFNet-GoPro-width32.pth --output NAFNet.safetensors --half
    python scripts/convert_checkpoint.py --input analysis_weights.h5 synthesis_weights.h5 --output pair.pth
    python scripts/convert_checkpoint.py --input pair.pth --to published --output analysis.h5 synthesis.h5

No code in the files is executed. If the network is not the published one, or is not recognised, name its option file
with -opt.
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
    add = parser.add_argument
    add('--input', type=Path, nargs='+', required=True, metavar='FILE', help='files to read')
    add('--output', type=Path, nargs='+', required=True, metavar='FILE', help='file to write; two .h5 for a pair')
    add('--layout', choices=['keras-analysis-synthesis', 'torch'], help='input layout; default: from the suffix')
    add('--to', choices=['ours', 'published'], default='ours', help='output layout (default: ours)')
    add('--half', action='store_true', help='store float16: half the size, 3 significant digits')
    add('--ema', action='store_true', help='use the EMA weights (params_ema)')
    add('--strength', type=float, metavar='S', help='scale the residual of a NAFNet: 0.6 deblurs more cautiously')
    add('-opt', metavar='FILE', help='option file with the network_g of the input')
    add_force(parser)
    return parser.parse_args()


def read(arguments: argparse.Namespace) -> tuple[Weights, Any]:
    """Read the weights and build their network.

    Raises:
        WeightsError: the files cannot be read, or do not fit the network.
    """
    from basicsr.archs import build_network
    from basicsr.inference.pretrained import block_of
    from basicsr.interchange.converting import KERAS, in_order_of, input_layout
    from basicsr.interchange.keras_order import read_keras_pair
    from basicsr.models.misfit import load_or_explain
    from basicsr.options import load_options
    from basicsr.utils.errors import WeightsError
    from basicsr.utils.registry import plain_block
    from basicsr.weights.files import Weights, read_any_weights

    options = load_options(arguments.opt, arguments.force_yml) if arguments.opt else None
    block, first = plain_block(options.network_g, 'network') if options else None, arguments.input[0]
    if input_layout(arguments.input, arguments.layout) == KERAS:
        if arguments.ema:
            raise WeightsError(f'{first}: Keras files contain no EMA weights; omit --ema')
        block = block or {'type': 'AnalysisSynthesisNet'}
        net = build_network(block)
        weights = Weights(first, read_keras_pair(net, arguments.input))
    else:
        weights = read_any_weights(first, averages=arguments.ema)
        block = block or block_of(weights)
        net = build_network(block)
        load_or_explain(net, replace(weights, network=None), adopt_mask_value='mask_value' not in block)
    return in_order_of(net, replace(weights, network=block)), net


def main() -> int:
    """Read, check and write."""
    arguments = parse()
    from basicsr.interchange.converting import check_outputs, in_float16, with_strength, write_published
    from basicsr.utils.files import sha256_of
    from basicsr.weights.files import save_state

    check_outputs(arguments.output, arguments.to == 'published')
    weights, net = read(arguments)
    if arguments.strength is not None:
        weights = with_strength(weights, net, arguments.strength)
    if arguments.half:
        weights = in_float16(weights)
    for path in arguments.output:
        path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.to == 'published':
        write_published(weights, net, arguments.output)
    else:
        about: dict[str, Any] = {'network_g': weights.network, 'mask_value': weights.mask_value}
        about |= {'param_key': 'params_ema' if arguments.ema else None, 'strength': arguments.strength}
        about['converted_from'] = {path.name: sha256_of(path) for path in arguments.input}
        known = {key: value for key, value in about.items() if value is not None}
        save_state(arguments.output[0], weights.state, **known)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f'{", ".join(map(str, arguments.output))}: {type(net).__name__}, {parameters:,} parameters')
    print(f'network_g: {weights.network}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
