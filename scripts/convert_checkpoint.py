"""Turn network files of other projects into ours.

Layouts:
    keras-analysis-synthesis   analysis_weights.h5 and synthesis_weights.h5 of analysis-synthesis deblurring, in this
                               order (takes h5py: python -m pip install h5py)

Example:
    python scripts/convert_checkpoint.py --input analysis_weights.h5 synthesis_weights.h5 --output pair.pth

Nothing in the files is executed. The network is the published one of the layout; -opt names an option file of another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT)] + [p for p in sys.path if Path(p or '.').resolve() != Path(__file__).resolve().parent]


def read_keras_analysis_synthesis(net: Any, paths: Sequence[Path]) -> dict[str, Any]:
    """The pair's parameters by position."""
    from basicsr.archs.keras_order import read_keras_pair

    return read_keras_pair(net, paths)


@dataclass(frozen=True)
class Layout:
    """How files of one kind are read.

    Args:
        network: the block of the published network.
        suffix: of the files.
        read: network and files to a state_dict of the network.
    """

    network: dict[str, Any]
    suffix: str
    read: Callable[[Any, Sequence[Path]], dict[str, Any]]


LAYOUTS = {
    'keras-analysis-synthesis': Layout({'type': 'AnalysisSynthesisNet'}, '.h5', read_keras_analysis_synthesis),
}


def parse() -> argparse.Namespace:
    """The command line."""
    from basicsr.options.loading import add_force

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, nargs='+', required=True, metavar='FILE', help='the files to read')
    parser.add_argument('--output', type=Path, required=True, metavar='FILE.pth', help='the file to write')
    parser.add_argument(
        '--layout', choices=sorted(LAYOUTS), help='what the files are; found by their suffix if left out'
    )
    parser.add_argument('-opt', metavar='FILE', help='option file whose network_g the files belong to')
    add_force(parser)
    return parser.parse_args()


def layout_of(paths: Sequence[Path]) -> Layout:
    """The layout that files of this suffix have.

    Raises:
        WeightsError: none has.
    """
    from basicsr.utils.errors import WeightsError

    for layout in LAYOUTS.values():
        if all(path.suffix.lower() == layout.suffix for path in paths):
            return layout
    raise WeightsError(f'{", ".join(map(str, paths))}: not known what this is; name it with --layout')


def main() -> int:
    """Read, check and write."""
    arguments = parse()
    from basicsr.archs import build_network
    from basicsr.options import load_options
    from basicsr.utils.files import refuse_existing, sha256_of
    from basicsr.utils.weights import Weights, load_weights, save_weights

    refuse_existing(arguments.output)
    layout = LAYOUTS[arguments.layout] if arguments.layout else layout_of(arguments.input)
    block: Any = layout.network
    if arguments.opt:
        block = load_options(arguments.opt, arguments.force_yml).network_g
    net = build_network(block)
    load_weights(net, Weights(arguments.input[0], layout.read(net, arguments.input)))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_weights(arguments.output, net, converted_from={path.name: sha256_of(path) for path in arguments.input})
    parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f'{arguments.output}: {type(net).__name__}, {parameters:,} parameters')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
