"""Make blurred and sharp pairs from photos, folders of frames, or videos, to train or to test a deblurring network.

Photos are blurred by simulated camera shake, or by one kernel for the whole image; frames by their real motion. Pairs
of the kind sharp have no blur.

Examples:
    python scripts/make_blur_pairs.py -i photos -o pairs
    python scripts/make_blur_pairs.py -i photos walk.mp4 -o pairs --pairs 5000 --crop 192
    python scripts/make_blur_pairs.py -i photos clips -o val --pairs 120 --whole --kinds shake=2 motion=2 sharp=1

The output folder gets blur/, sharp/, a table (pairs.csv), a contact sheet (pairs.jpg), and a list of the pairs of each
kind (shake.txt, ...). A second run resumes an interrupted one.
"""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse
import logging
from typing import Any

KINDS = ('shake', 'motion', 'kernel', 'sharp')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.utils.console import share_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    input_help = 'folders of photos, folders of frames (names end with consecutive numbers), and videos'
    add('-i', '--input', nargs='+', default=[], metavar='PATH', help=input_help)
    add('--photos', nargs='+', default=[], metavar='DIR', help='folders of photos with any names')
    add('--clips', nargs='+', default=[], metavar='PATH', help='folders of frames, and videos')
    add('--clip-masks', metavar='DIR', help='masks of moving objects, with the names of the frames, for --masks')
    add('-o', '--output', type=Path, required=True, metavar='DIR', help='output folder')
    add('--pairs', type=int, default=1000, metavar='N', help='number of pairs (default: 1000)')
    kinds_help = (
        'proportions of the kinds shake, motion, kernel and sharp; default: 40, 35 (0 without clips), 10 and 15'
    )
    add('--kinds', nargs='+', type=share_of(KINDS), metavar='KIND=SHARE', help=kinds_help)
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--crop', type=int, default=192, metavar='PIXELS', help='side of square crops (default: 192)')
    size.add_argument('--whole', action='store_true', help='whole images with a shorter side of 480 to 720 pixels')
    add('--reduced', type=float, default=0.0, metavar='SHARE', help='fraction of whole images to scale down to 320x180')
    limits: dict[str, Any] = {'nargs': 2, 'type': float, 'metavar': ('MIN', 'MAX')}
    path_help = 'length of the path of a pixel during a shake, in pixels of an image of 720 rows (default: 0 60)'
    add('--path-length', default=(0.0, 60.0), help=path_help, **limits)
    exposure_help = 'exposure time of motion, in intervals between frames (default: 0.2 1.5)'
    add('--exposure', default=(0.2, 1.5), help=exposure_help, **limits)
    add('--masks', action='store_true', help='also write a label map of regions for each pair')
    add('--frames', type=int, default=100, metavar='N', help='pairs of frames taken from each video (default: 100)')
    add('--seed', type=int, default=0, help='seed of all random numbers (default: 0)')
    workers_help = 'number of worker processes (default: 2; 0 uses the main process)'
    add('--workers', type=int, default=2, metavar='N', help=workers_help)
    return parser.parse_args()


def main() -> int:
    """Make the pairs, the table and the contact sheet."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.data.camera_blur_dataset import SHARES
    from basicsr.preparation.blur_pairs import PairPlan, counts_of, make_pairs, summary, write_lists, write_sheet
    from basicsr.preparation.blur_sources import sort_inputs
    from basicsr.utils.errors import ArgumentError

    if arguments.seed < 0 or arguments.workers < 0 or arguments.frames < 1 or arguments.crop < 16:
        raise ArgumentError('--seed and --workers must be at least 0, --frames at least 1, --crop at least 16')
    if not 0 <= arguments.reduced <= 1 or (arguments.reduced and not arguments.whole):
        raise ArgumentError('--reduced must be a fraction from 0 to 1, and needs --whole')
    photos, clips = sort_inputs(
        arguments.input, arguments.photos, arguments.clips, arguments.output / 'frames', arguments.frames
    )
    shares = dict(arguments.kinds or [(kind, part) for kind, part in SHARES.items() if kind != 'motion' or clips])
    plan = PairPlan(
        photos,
        clips,
        counts_of(arguments.pairs, shares),
        crop=None if arguments.whole else arguments.crop,
        reduced=arguments.reduced,
        seed=arguments.seed,
        masks=arguments.masks,
        clip_masks=arguments.clip_masks,
        settings={'path_length': tuple(arguments.path_length), 'exposure': tuple(arguments.exposure)},
    )
    rows = make_pairs(plan, arguments.output, arguments.workers)
    write_lists(rows, arguments.output)
    print(summary(rows))
    print(f'{len(rows)} pairs in {arguments.output}; see {write_sheet(rows, arguments.output)}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
