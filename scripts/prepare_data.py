"""Convert a downloaded benchmark to the folders that the option files name. It downloads nothing.

Sets: gopro, realblur-j, realblur-r, reds (validation, 3000 frames), reds300 (NAFNet's 300 JPEG frames), reloblur, hide.

Stages, in this order (by default all but the last; --stages runs some of them):
    convert    recognise the folder layout, verify counts and files, give every pair its folder and name
    crops      cut training images into 512x512 crops, every 256 pixels
    predeblur  restore training images with a trained network, to make better masks from them
    masks      make a label map of every image
    group      write the region masks and gray masks (CAT) that the data sets read, cropped like the images
    lmdb       write an LMDB next to every folder

Examples:
    python scripts/prepare_data.py gopro --root GOPRO_Large --out datasets/GoPro --workers 8 \\
        --predeblur-opt options/train/GoPro/NAFNet.yml --predeblur-weights NAFNet-GoPro.pth
    python scripts/prepare_data.py gopro --root GOPRO_Large --masks-from blurred --generator sam --checkpoint FILE
    python scripts/prepare_data.py reds --root REDS --stages convert

A second run keeps existing files and completes the rest. If files could not be used, they are listed at the end and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

if TYPE_CHECKING:
    from basicsr.preparation.plan import PredeblurNetwork

# names of both flags and settings of the plan
_SAME_NAMES = ('blur', 'layout', 'allow_partial', 'link', 'masks_from', 'cat_test', 'workers', 'force')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('set', help='benchmark: gopro, realblur-j, realblur-r, reds, reds300, reloblur or hide')
    add('--root', type=Path, metavar='DIR', help='folder of the unpacked download')
    add('--out', type=Path, metavar='DIR', help='output folder; default: datasets/<set>, as in the option files')
    add('--stages', nargs='+', metavar='STAGE', help='stages to run; default: convert crops predeblur masks group')
    parts_help = 'parts to prepare: train, val, test; default: those that the option files use'
    add('--parts', nargs='+', default=[], metavar='PART', help=parts_help)
    blur_help = 'kind of blur; gopro: blur (default) or blur_gamma; reds: blur (default) or blur_jpeg'
    add('--blur', default='', metavar='KIND', help=blur_help)
    add('--layout', help='folder layout to use if several are found')
    add('--allow-partial', action='store_true', help='accept an incomplete set; the record and the reports note this')
    link_help = 'copy the images, or create hard or symbolic links to them (default: copy)'
    add('--link', choices=('copy', 'hard', 'symbolic'), default='copy', help=link_help)
    add('--workers', type=int, default=1, metavar='N', help='number of worker processes (default: 1)')
    sources, formats = ('predeblurred', 'blurred'), ('label_map', 'original')
    masks_help = 'images to make the training masks from (default: predeblurred)'
    add('--masks-from', choices=sources, default='predeblurred', help=masks_help)
    add('--cat-test', choices=sources, help='images to make the gray masks (CAT) of the GoPro test set from')
    format_help = 'format of the masks; original: boolean .npz files (default: label_map)'
    add('--mask-format', choices=formats, default='label_map', help=format_help)
    add('--generator', default='felzenszwalb', help='mask generator: felzenszwalb (needs no weights) or sam')
    add('--checkpoint', metavar='FILE', help='weights of the mask generator')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    set_help = 'more arguments of the mask generator'
    add('--set', dest='settings', nargs='+', default=[], metavar='KEY=VALUE', help=set_help)
    add('--predeblur-opt', metavar='FILE', help='option file of the network for the stage predeblur')
    add('--predeblur-weights', type=Path, metavar='FILE', help='weights of the network for the stage predeblur')
    add('--crop-size', type=int, default=512, metavar='PIXELS', help='side of the training crops (default: 512)')
    add('--crop-step', type=int, default=256, metavar='PIXELS', help='step between training crops (default: 256)')
    add('--force', action='store_true', help='make the files of the stages again')
    add('--dry-run', action='store_true', help='only report the files found and the stages to run')
    return parser.parse_args()


def predeblur_network(arguments: argparse.Namespace) -> PredeblurNetwork | None:
    """Return the network of the stage predeblur; None if it is not named.

    Raises:
        DataError: only one of option file and weights is named.
    """
    from basicsr.options import load_options
    from basicsr.preparation.plan import NEEDS_WEIGHTS, PredeblurNetwork
    from basicsr.utils.errors import DataError

    if arguments.predeblur_opt is None and arguments.predeblur_weights is None:
        return None
    if arguments.predeblur_opt is None or arguments.predeblur_weights is None:
        raise DataError(NEEDS_WEIGHTS)
    options = load_options(arguments.predeblur_opt)
    block, weights = options.network_g.as_dict(), arguments.predeblur_weights
    return PredeblurNetwork(block, weights, options.path.param_key, arguments.device)


def main() -> int:
    """Prepare the set. Return 1 if files could not be used."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.masks.generator import block_of_flags
    from basicsr.preparation.benchmark_sets import benchmark_set
    from basicsr.preparation.pipeline import describe_plan, hints, prepare
    from basicsr.preparation.plan import USUAL_STAGES, Plan

    benchmark = benchmark_set(arguments.set)
    plan = Plan(
        benchmark,
        out=(arguments.out or Path('datasets') / benchmark.folder).expanduser(),
        root=arguments.root and arguments.root.expanduser(),
        parts=tuple(arguments.parts),
        **{key: getattr(arguments, key) for key in _SAME_NAMES},
        generator=block_of_flags(arguments.generator, arguments.checkpoint, arguments.device, arguments.settings),
        original_masks=arguments.mask_format == 'original',
        network=predeblur_network(arguments),
        crop=(arguments.crop_size, arguments.crop_step),
    )
    stages = arguments.stages or list(USUAL_STAGES)
    if arguments.dry_run:
        print('\n'.join(describe_plan(plan, stages)))
        return 0
    report = prepare(plan, stages, True, print)
    for line in [*(f'failed: {reason}' for reason in report.failed.values()), *hints(plan, stages)]:
        print(line)
    return 1 if report.failed else 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
