"""Convert a downloaded benchmark to the folders that the option files name. It downloads nothing.

Sets: gopro, realblur-j, realblur-r, reds (validation, 3000 frames), reds300 (NAFNet's 300 JPEG frames), reloblur, hide,
dpdd, lfdof (both are read in the folders of their archives: convert checks and copies or links them), grr_real
(sequences; only the stage convert), levin, kohler.

Stages, in this order (by default all but the last; --stages runs some of them):
    convert    recognise the folder layout, verify counts and files, give every pair its folder and name; unpack the
               files of levin, with their kernels
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

To make a data set with row-dependent blur from your own clips or photos, see
    python scripts/prepare_data.py grr-synth --help
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

if TYPE_CHECKING:
    from basicsr.preparation.plan import PredeblurNetwork

SYNTHESIS = 'scripts/prepare_data.py grr-synth'
# names of both flags and settings of the plan
_SAME_NAMES = ('blur', 'layout', 'allow_partial', 'link', 'masks_from', 'cat_test', 'workers', 'force')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = 'gopro, realblur-j, realblur-r, reds, reds300, reloblur, hide, dpdd, lfdof, grr_real, levin or kohler'
    add('set', help=f'benchmark: {names}')
    add('--root', type=Path, metavar='DIR', help='folder of the unpacked download')
    add('--out', type=Path, metavar='DIR', help='output folder; default: datasets/<set>, as in the option files')
    add('--stages', nargs='+', metavar='STAGE', help='stages to run; default: convert crops predeblur masks group')
    parts_help = 'parts to prepare: train, val, test, validate; default: those that the option files use'
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
    add('--force', action='store_true', help='recreate the files of the stages')
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


def parse_synthesis(flags: list[str]) -> argparse.Namespace:
    """Parse the command line of ``grr-synth``."""
    text = f"""Make a data set with row-dependent blur (global-reset-release shutter), in the layout of GRR_real.

Clips are blurred by their own motion: row r of an image is the mean of the first n(r) frames, and n grows linearly from
the first row to the last. Photos are blurred by simulated camera shake in the same way.

Examples:
    python {SYNTHESIS} --clips clips240 --out datasets/GRR_synth --part test --exposure 1 13
    python {SYNTHESIS} --photos photos --out datasets/GRR_synth --part train --per-photo 4 --crop 320 128

Every clip and photo becomes one sequence, <out>/<part>/<sequence>/{{RSGR,GS}}/PNG/<number>.png. A second run keeps
finished sequences and completes the rest. A contact sheet is in <out>/<part>/grr_synth.jpg.
"""
    parser = argparse.ArgumentParser(
        prog=SYNTHESIS, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    clips_help = 'folders of frames of high-frame-rate clips, or of such folders; names end with consecutive numbers'
    add('--clips', nargs='+', default=[], metavar='DIR', help=clips_help)
    add('--photos', nargs='+', default=[], metavar='DIR', help='folders of sharp photos')
    out_help = 'output folder (default: datasets/GRR_synth)'
    add('--out', type=Path, default=Path('datasets/GRR_synth'), metavar='DIR', help=out_help)
    add('--part', choices=('train', 'validate', 'test'), default='train', help='default: train')
    exposure_help = 'exposure time of the first and of the last row, in frames; for photos, only their ratio counts'
    add('--exposure', nargs=2, type=float, default=(1.0, 13.0), metavar=('FIRST', 'LAST'), help=exposure_help)
    brightness_help = (
        'mean makes all rows equally bright (default); first_row and last_row keep the light that each row collects, '
        'and expose the first or the last row correctly'
    )
    add('--brightness', choices=('mean', 'first_row', 'last_row'), default='mean', help=brightness_help)
    target_help = (
        'sharp images: the mean over the exposure of the first row (default), the first frame, or for each row an '
        'exposure as short in the middle of its own'
    )
    add('--target', choices=('first_row', 'first_frame', 'row_centre'), default='first_row', help=target_help)
    add('--gamma', type=float, default=2.2, help='light = gray value^GAMMA; 1 averages gray values (default: 2.2)')
    add('--noise', type=float, default=0.0, metavar='STD', help='noise at half of white, in light (default: 0)')
    stride_help = 'frames of a clip from the beginning of one exposure to the next (default: 1)'
    add('--stride', type=int, default=1, metavar='FRAMES', help=stride_help)
    add('--per-photo', type=int, default=1, metavar='N', help='pairs from each photo (default: 1)')
    crop_help = 'height and width of random crops of photos; default: whole photos'
    add('--crop', nargs=2, type=int, metavar=('ROWS', 'COLUMNS'), help=crop_help)
    path_help = 'length of the path of a pixel during the exposure of the last row, in pixels (default: 0 40)'
    add('--path-length', nargs=2, type=float, default=(0.0, 40.0), metavar=('MIN', 'MAX'), help=path_help)
    add('--seed', type=int, default=0, help='seed of all random numbers (default: 0)')
    add('--workers', type=int, default=1, metavar='N', help='number of worker processes (default: 1)')
    return parser.parse_args(flags)


def synthesize_rows(flags: list[str]) -> int:
    """Make the data set. Return 1 if a sequence could not be made."""
    arguments = parse_synthesis(flags)
    from basicsr.data.row_exposure import RowExposure
    from basicsr.preparation.grr_synthesis import SHEET, GRRPlan, synthesize

    shutter = (*arguments.exposure, arguments.brightness, arguments.target, arguments.gamma, arguments.noise)
    plan = GRRPlan(
        RowExposure(*shutter),
        clips=arguments.clips,
        photos=arguments.photos,
        crop=arguments.crop and tuple(arguments.crop),
        path_length=tuple(arguments.path_length),
        **{key: getattr(arguments, key) for key in ('stride', 'per_photo', 'seed')},
    )
    folder = arguments.out.expanduser() / arguments.part
    done = synthesize(plan, folder, arguments.workers, True)
    print(f'{sum(done.results)} pairs in {len(done.results)} sequences in {folder}; see {folder / SHEET}')
    for name, reason in done.failed.items():
        print(f'failed: {name}: {reason}')
    return 1 if done.failed else 0


def main() -> int:
    """Prepare the set. Return 1 if files could not be used."""
    if sys.argv[1:2] == ['grr-synth']:
        return synthesize_rows(sys.argv[2:])
    arguments = parse()
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
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
