"""Turn a downloaded benchmark into the folders that the option files name. Nothing is downloaded.

Sets: gopro, realblur-j, realblur-r, reds (validation, 3000 frames), reds300 (NAFNet's 300 JPEG frames), reloblur, hide.

Stages, in this order (all but the last unless --stages says otherwise; each can be run alone):
    convert    find the set in whatever layout it has, verify its counts and files, give every pair its place and name
    crops      cut training images into 512x512 crops, every 256 pixels
    predeblur  restore training images with a trained network; nothing but their masks comes from these
    masks      a label map for every image
    group      what the data sets read: region masks and gray pictures (CAT), cropped as the images
    lmdb       an LMDB beside every folder

Examples:
    python scripts/prepare_data.py gopro --root GOPRO_Large --out datasets/GoPro --workers 8 \\
        --predeblur-opt options/train/GoPro/NAFNet.yml --predeblur-weights NAFNet-GoPro.pth
    python scripts/prepare_data.py gopro --root GOPRO_Large --masks-from blurred --generator sam --checkpoint FILE
    python scripts/prepare_data.py reds --root REDS --stages convert

A second run keeps what is there and does the rest. Exit code 1: something could not be used; it is named at the end.
"""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
from pathlib import Path
from typing import Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('set', help='gopro, realblur-j, realblur-r, reds, reds300, reloblur or hide')
    parser.add_argument('--root', type=Path, metavar='DIR', help='what was downloaded and unpacked')
    parser.add_argument('--out', type=Path, metavar='DIR', help='default: datasets/<set> as the option files name it')
    parser.add_argument('--stages', nargs='+', metavar='STAGE', help='default: convert crops predeblur masks group')
    parser.add_argument('--parts', nargs='+', default=[], metavar='PART', help='train, val, test; default: the usual')
    parser.add_argument('--blur', default='', help='gopro: blur (default) or blur_gamma; reds: blur or blur_jpeg')
    parser.add_argument('--layout', help='if the set is there in several layouts: which one to take')
    parser.add_argument('--allow-partial', action='store_true', help='go on with an incomplete set; this is recorded')
    parser.add_argument('--link', choices=('copy', 'hard', 'symbolic'), default='copy', help='how images get there')
    parser.add_argument('--workers', type=int, default=1, metavar='N', help='processes')
    parser.add_argument('--masks-from', choices=('predeblurred', 'blurred'), default='predeblurred')
    parser.add_argument('--cat-test', choices=('predeblurred', 'blurred'), help='CAT pictures of GoPro test images')
    parser.add_argument('--mask-format', choices=('label_map', 'original'), default='label_map')
    parser.add_argument('--generator', default='felzenszwalb', help='felzenszwalb (needs no weights) or sam')
    parser.add_argument('--checkpoint', metavar='FILE', help='weights of the generator')
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    parser.add_argument('--set', dest='settings', nargs='+', default=[], metavar='KEY=VALUE', help='of the generator')
    parser.add_argument('--predeblur-opt', metavar='FILE', help='option file of the network that pre-deblurs')
    parser.add_argument('--predeblur-weights', type=Path, metavar='FILE', help='its weights')
    parser.add_argument('--crop-size', type=int, default=512, metavar='PIXELS')
    parser.add_argument('--crop-step', type=int, default=256, metavar='PIXELS')
    parser.add_argument('--force', action='store_true', help='make the files of the stages again, whatever is there')
    parser.add_argument('--dry-run', action='store_true', help='say what is there and what would be done')
    return parser.parse_args()


def network_of(arguments: argparse.Namespace) -> Any:
    """The network that pre-deblurs; None if none is named."""
    from basicsr.options import load_options
    from basicsr.preparation.plan import NEEDS_WEIGHTS, Network
    from basicsr.utils.errors import DataError

    if arguments.predeblur_opt is None and arguments.predeblur_weights is None:
        return None
    if arguments.predeblur_opt is None or arguments.predeblur_weights is None:
        raise DataError(NEEDS_WEIGHTS)
    options = load_options(arguments.predeblur_opt)
    block = options.network_g.as_dict()
    return Network(block, arguments.predeblur_weights, options.path.param_key, arguments.device)


def main() -> int:
    """Prepare the set; exit code 1 if something could not be used."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.masks.generator import block_of_flags
    from basicsr.preparation.benchmark_sets import benchmark_set
    from basicsr.preparation.pipeline import describe, hints, prepare
    from basicsr.preparation.plan import USUAL_STAGES, Plan
    from basicsr.preparation.worker_pool import with_bar

    benchmark = benchmark_set(arguments.set)
    plan = Plan(
        benchmark,
        out=(arguments.out or Path('datasets') / benchmark.folder).expanduser(),
        root=arguments.root and arguments.root.expanduser(),
        parts=tuple(arguments.parts),
        blur=arguments.blur,
        layout=arguments.layout,
        allow_partial=arguments.allow_partial,
        link=arguments.link,
        masks_from=arguments.masks_from,
        cat_test=arguments.cat_test,
        generator=block_of_flags(arguments.generator, arguments.checkpoint, arguments.device, arguments.settings),
        original_masks=arguments.mask_format == 'original',
        network=network_of(arguments),
        crop=(arguments.crop_size, arguments.crop_step),
        workers=arguments.workers,
        force=arguments.force,
    )
    stages = arguments.stages or list(USUAL_STAGES)
    if arguments.dry_run:
        print('\n'.join(describe(plan, stages)))
        return 0
    report = prepare(plan, stages, with_bar, print)
    for line in [*(f'failed: {reason}' for reason in report.failed.values()), *hints(plan, stages)]:
        print(line)
    return 1 if report.failed else 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
