"""Turn network files of other projects into ours, ours into theirs, and .pth into .safetensors or back.

What is read:
    ours                       {'params': ..., 'network_g': ..., 'mask_value': ...} in .pth or .safetensors
    published .pth files       of NAFNet, SegNAFNet (under params), LaKDNet (bare) and RSS-T (under model): the network
                               is recognised by its parameters
    keras-analysis-synthesis   analysis_weights.h5 and synthesis_weights.h5 of analysis-synthesis deblurring, in this
                               order (takes h5py: python -m pip install h5py)

What is written: ours (--to ours), or what the authors' own code reads (--to published): the layouts above.

Examples:
    python scripts/convert_checkpoint.py --input NAFNet-GoPro-width32.pth --output NAFNet.safetensors --half
    python scripts/convert_checkpoint.py --input analysis_weights.h5 synthesis_weights.h5 --output pair.pth
    python scripts/convert_checkpoint.py --input pair.pth --to published --output analysis.h5 synthesis.h5

Nothing in the files is executed. -opt names an option file where the network is not the published one, or not what its
parameters look like.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

if TYPE_CHECKING:
    from basicsr.weights.files import Weights

KERAS = 'keras-analysis-synthesis'
SUFFIXES = ('.pth', '.pt', '.ckpt', '.safetensors', '.h5')


def parse() -> argparse.Namespace:
    """The command line."""
    from basicsr.options.loading import add_force

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, nargs='+', required=True, metavar='FILE', help='the files to read')
    parser.add_argument(
        '--output', type=Path, nargs='+', required=True, metavar='FILE', help='the file to write; two .h5 for a pair'
    )
    parser.add_argument('--layout', choices=[KERAS, 'torch'], help='what is read; found by the suffix if left out')
    parser.add_argument('--to', choices=['ours', 'published'], default='ours', help='what is written')
    parser.add_argument('--half', action='store_true', help='store float16: half the size, rounded to 3 digits')
    parser.add_argument('--ema', action='store_true', help='take the moving averages (params_ema)')
    parser.add_argument(
        '--strength', type=float, metavar='S', help='scale what a NAFNet adds to its input: 0.6 makes it more careful'
    )
    parser.add_argument('-opt', metavar='FILE', help='option file whose network_g the files belong to')
    add_force(parser)
    return parser.parse_args()


def layout_of(arguments: argparse.Namespace) -> str:
    """What the input is.

    Raises:
        WeightsError: its suffix does not say.
    """
    from basicsr.utils.errors import WeightsError

    suffixes = {path.suffix.lower() for path in arguments.input}
    layout = arguments.layout or (KERAS if suffixes == {'.h5'} else 'torch' if suffixes <= set(SUFFIXES[:4]) else None)
    if layout is None or (layout == 'torch' and len(arguments.input) > 1):
        names = ', '.join(map(str, arguments.input))
        what = 'more than one file' if layout else 'not known what this is; name it with --layout'
        raise WeightsError(f'{names}: {what}')
    if layout == KERAS and arguments.ema:
        raise WeightsError(f'{arguments.input[0]}: files of Keras hold no moving averages; leave out --ema')
    return str(layout)


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse names that cannot be written, before anything is read.

    Raises:
        WeightsError: another suffix, or one that does not go with --to.
        DataError: something of that name exists.
    """
    from basicsr.utils.errors import WeightsError
    from basicsr.utils.files import refuse_existing

    for path in arguments.output:
        refuse_existing(path)
        if path.suffix.lower() not in SUFFIXES:
            raise WeightsError(f'{path}: a network file ends in {", ".join(SUFFIXES)}')
        if path.suffix.lower() == '.h5' and arguments.to == 'ours':
            raise WeightsError(f'{path}: .h5 is the published layout of the analysis-synthesis pair: --to published')
        if path.suffix.lower() == '.safetensors' and arguments.to == 'published':
            raise WeightsError(f'{path}: no published layout is .safetensors; leave out --to published')
    if len(arguments.output) > 1 and {path.suffix.lower() for path in arguments.output} != {'.h5'}:
        raise WeightsError(f'{arguments.output[1]}: one file is written; two only for a pair in .h5')


def read(arguments: argparse.Namespace) -> Weights:
    """The parameters, and the block of their network.

    Raises:
        WeightsError: they cannot be read, or belong to another network.
    """
    from basicsr.archs import build_network
    from basicsr.inference.pretrained import block_of
    from basicsr.interchange.keras_order import read_keras_pair
    from basicsr.options import load_options
    from basicsr.utils.registry import plain_block
    from basicsr.weights.files import Weights, read_any_weights

    block = (
        plain_block(load_options(arguments.opt, arguments.force_yml).network_g, 'network') if arguments.opt else None
    )
    first = arguments.input[0]
    if layout_of(arguments) == KERAS:
        block = block or {'type': 'AnalysisSynthesisNet'}
        return Weights(first, read_keras_pair(build_network(block), arguments.input), block)
    weights = read_any_weights(first, averages=arguments.ema)
    return replace(weights, network=block or block_of(weights))


def fitted(weights: Weights) -> tuple[Weights, Any]:
    """The same with its parameters in the network's order and its mask value filled in; and the network, without data.

    Raises:
        WeightsError: parameters and network do not fit.
    """
    import torch

    from basicsr.archs import build_network
    from basicsr.models.misfit import explanation
    from basicsr.utils.errors import WeightsError
    from basicsr.weights.files import agreed_mask_value, check_fit

    network = weights.network or {}
    with torch.device('meta'):
        net = build_network(network)
    differs = explanation(net, replace(weights, network=None))  # what -opt says is no part of the file
    if differs is not None:
        raise WeightsError(differs)
    check_fit(net, weights)
    weights = replace(weights, state={key: weights.state[key] for key in net.state_dict()})
    if not hasattr(net, 'mask_value'):
        return weights, net
    agreed = agreed_mask_value(net, weights, adopt='mask_value' not in network)
    value = float(net.mask_value) if agreed is None else agreed  # type: ignore[arg-type]
    return replace(weights, network={**network, 'mask_value': value}, mask_value=value), net


def scaled(weights: Weights, net: Any, strength: float) -> Weights:
    """The same network, but what it adds to its input is ``strength`` times as much.

    Raises:
        WeightsError: it is no NAFNet, whose last convolution is all that is added, or the factor makes no sense.
    """
    from basicsr.archs.nafnet_arch import NAFNetBody
    from basicsr.utils.errors import WeightsError

    if not isinstance(net, NAFNetBody):
        raise WeightsError(f'{weights.path}: --strength is for NAFNet and its kin, not for {type(net).__name__}')
    if not 0 < strength <= 2:
        raise WeightsError(f'--strength is a factor above 0 and up to 2, not {strength:g}')
    last = {key: value * strength for key, value in weights.state.items() if key.startswith('ending.')}
    return replace(weights, state={**weights.state, **last})


def halved(weights: Weights) -> Weights:
    """The same in float16.

    Raises:
        WeightsError: a number is too large for it.
    """
    from basicsr.utils.errors import WeightsError

    state = {key: value.half() if value.is_floating_point() else value for key, value in weights.state.items()}
    infinite = [key for key, value in state.items() if value.isinf().any() and not weights.state[key].isinf().any()]
    if infinite:
        raise WeightsError(f'{weights.path}: {infinite[0]} has numbers beyond those of float16; leave out --half')
    return replace(weights, state=state)


@dataclass(frozen=True)
class Published:
    """A layout that the authors' code reads.

    Args:
        networks: whose.
        content: the parameters to what ``torch.save`` writes.
    """

    networks: tuple[str, ...]
    content: Callable[[Mapping[str, Any]], dict[str, Any]]


PUBLISHED = (
    Published(('NAFNet', 'NAFNetLocal', 'SegNAFNet', 'SegNAFNetLocal'), lambda state: {'params': dict(state)}),
    Published(('LaKDNet',), dict),
    Published(
        ('RSST',),
        lambda state: {
            'model': {f'module.{key}': value for key, value in state.items()},
            # the authors' code does not start without these
            'best_monitored_value': 0.0,
            'best_psnr': 0.0,
            'best_ssim': 0.0,
            'best_monitored_iteration': 0,
            'best_monitored_epoch': 0,
            'best_monitored_epoch_step': 0,
        },
    ),
)


def write_published(weights: Weights, net: Any, outputs: Sequence[Path]) -> None:
    """Write what the authors' code reads.

    Raises:
        WeightsError: the network has no published layout, or what it would lose matters.
    """
    import torch

    from basicsr.interchange.keras_order import write_keras_pair
    from basicsr.utils.errors import WeightsError
    from basicsr.utils.files import whole_file
    from basicsr.weights.files import PUBLISHED_MASK_VALUE

    name = type(net).__name__
    if outputs[0].suffix.lower() == '.h5':
        write_keras_pair(net, weights.state, outputs)
        return
    layouts = [layout for layout in PUBLISHED if name in layout.networks]
    if not layouts:
        where = '.h5' if name in ('AnalysisNet', 'SynthesisNet', 'AnalysisSynthesisNet') else 'our own layout'
        raise WeightsError(f'{outputs[0]}: {name} was not published in this form; write it as {where}')
    value = weights.mask_value
    if value is not None and abs(value - PUBLISHED_MASK_VALUE) > 1e-6 * value:
        raise WeightsError(
            f'{outputs[0]}: the published layout does not say what masks weigh, and is read as 1/255; this network has '
            f"mask_value {value:.7g}. Write our layout: the authors' code takes its params and ignores the rest"
        )
    with whole_file(outputs[0]) as file:
        torch.save(layouts[0].content(weights.state), file)


def main() -> int:
    """Read, check and write."""
    arguments = parse()
    from basicsr.utils.files import sha256_of
    from basicsr.weights.files import save_state

    check_outputs(arguments)
    weights, net = fitted(read(arguments))
    if arguments.strength is not None:
        weights = scaled(weights, net, arguments.strength)
    if arguments.half:
        weights = halved(weights)
    for path in arguments.output:
        path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.to == 'published':
        write_published(weights, net, arguments.output)
    else:
        about: dict[str, Any] = {'network_g': weights.network}
        if weights.mask_value is not None:
            about['mask_value'] = weights.mask_value
        if arguments.ema:
            about['param_key'] = 'params_ema'
        if arguments.strength is not None:
            about['strength'] = arguments.strength
        about['converted_from'] = {path.name: sha256_of(path) for path in arguments.input}
        save_state(arguments.output[0], weights.state, **about)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f'{", ".join(map(str, arguments.output))}: {type(net).__name__}, {parameters:,} parameters')
    print(f'network_g: {weights.network}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
