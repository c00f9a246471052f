"""Compute effective receptive fields: how the centre of a network's output depends on the pixels of its input.

Writes erf.csv, profiles.csv, erf.svg and one file of maps per network. The definition, the fit and erf_score are this
project's; erf_score is not the ERFMeter of the LaKDNet paper, whose formula is not published.

Examples:
    python scripts/erf.py -opt options/test/GoPro/LaKDNet_S.yml
    python scripts/erf.py -opt options/train/GoPro/LaKDNet_S.yml --images photos --size 512 \\
        --compare options/train/GoPro/NAFNet.yml options/train/GoPro/SAMDeblur.yml

Weights are those of path.pretrain_network_g, else experiments/<name>/models/net_g_latest.pth (for training files, the
other way round), else random ones.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.options import add_arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    add = parser.add_argument
    add('--compare', nargs='+', default=[], metavar='FILE', help='option files of further networks')
    images_help = 'folder of images, instead of the first test or validation set of the option file'
    add('--images', type=Path, metavar='DIR', help=images_help)
    add('--size', type=int, default=256, metavar='PIXELS', help='side of the centre crops (default: 256)')
    add('--count', type=int, default=20, metavar='N', help='number of crops, at most (default: 20)')
    add('--output', type=Path, metavar='DIR', help='output folder; default: results/erf/<name>')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    generator_help = 'makes the masks of images without any (default: felzenszwalb, which needs no weights)'
    add('--generator', default='felzenszwalb', help=generator_help)
    add('--no-checkpointing', action='store_true', help='keep all activations, with several times the memory')
    return parser.parse_args()


def main() -> int:
    """Write the files and print the table."""
    arguments = parse()
    import logging

    from basicsr.archs.samdeblur_arch import MaskGuided
    from basicsr.evaluation.field_comparison import fields_of, network_of
    from basicsr.evaluation.field_inputs import crops_of_folder, crops_of_options
    from basicsr.evaluation.field_report import text_table, write_fields
    from basicsr.masks.generator import build_generator
    from basicsr.options import from_arguments, load_options
    from basicsr.preflight import build_on_paper
    from basicsr.reporting.line_chart import COLOURS
    from basicsr.utils.device import select_device
    from basicsr.utils.errors import OptionError

    logging.basicConfig(format='%(message)s')
    logging.getLogger('basicsr').setLevel(logging.INFO)
    if min(arguments.size, arguments.count) < 1:
        raise OptionError('--size and --count must be at least 1')
    device = select_device(arguments.device)
    files = [from_arguments(arguments), *(load_options(file) for file in arguments.compare)]
    nets = {}
    for options in files:
        build_on_paper(options)
        if options.name in nets:
            raise OptionError(f"{options.source}: another option file has the name '{options.name}'")
        nets[options.name], weights = network_of(options, device, not arguments.no_checkpointing)
        print(f'{options.name}: {weights}')
    count = sum(2 if isinstance(net, MaskGuided) else 1 for net in nets.values())
    if count > len(COLOURS):
        raise OptionError(
            f'the figure compares {len(COLOURS)} fields at most, got {count}: two of each mask-guided network'
        )
    settings = arguments.size, arguments.count
    crops = crops_of_folder(arguments.images, *settings) if arguments.images else crops_of_options(files[0], *settings)
    fields = fields_of(nets, crops, build_generator({'type': arguments.generator}), device)
    folder = arguments.output or Path('results') / 'erf' / files[0].name
    rows = write_fields(folder, fields)
    print(f'\n{rows[0].images} crops of {arguments.size} × {arguments.size} pixels\n\n{text_table(rows)}\n\n{folder}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
