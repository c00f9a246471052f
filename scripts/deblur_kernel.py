"""Deblur photos with the analysis-synthesis pair: one network estimates the blur kernel, the other deblurs with it.

The blur must be the same over the whole photo and at most 85 pixels long; downscale photos with larger blur first.

Examples:
    python scripts/deblur_kernel.py -i photo.jpg -o results/sharp
    python scripts/deblur_kernel.py -i photos -o results/sharp -s "" --save-kernel --side_by_side

Convert the weights with scripts/convert_checkpoint.py first. If a photo fails, the rest are still processed and the
exit code is 1.
"""

from __future__ import annotations

import argparse
import functools
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

WEIGHTS = 'analysis-synthesis'


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, flag = parser.add_argument, functools.partial(parser.add_argument, action='store_true')
    add('--input_path', '-i', type=Path, required=True, metavar='PATH', help='a photo or a folder of photos')
    add('--out_dir', '-o', type=Path, default=Path('results'), metavar='DIR', help='folder for results')
    add('--suffix', '-s', default='_deblurred', help='text added to file names; may be "" (default: _deblurred)')
    weights_help = f'network file, or name in experiments/pretrained_models (default: {WEIGHTS})'
    add('--weights', '-w', default=WEIGHTS, metavar='NAME', help=weights_help)
    size_help = 'estimate the kernel of larger photos in a centre crop: one number (square) or two (height width)'
    add('--analysis_max_input_size', '-amis', type=int, nargs='+', metavar='N', help=size_help)
    crop_help = 'area for estimating the kernel; reference: centre crop of a size that the original accepts'
    add('--analysis-crop', choices=('whole', 'reference'), help=crop_help)
    flag('--plot', '-p', help='show photo and result side by side')
    flag('--side_by_side', '-sbs', help='save photo and result in one image, photo on the left')
    flag('--save-kernel', help='also save NAME_kernel.png and NAME_kernel.npy')
    flag('--overwrite', help='replace existing results')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    return parser.parse_args()


def show(image: Any, title: str) -> None:
    """Open an image in the system's viewer."""
    import numpy as np
    from PIL import Image, ImageShow

    eight_bits = image if image.dtype == np.uint8 else (image // 257).astype(np.uint8)
    if not ImageShow.show(Image.fromarray(eight_bits.squeeze()), title):
        print(f'{title}: no image viewer was found; use --side_by_side', file=sys.stderr)


def main() -> int:
    """Deblur all photos; return 1 if one failed."""
    arguments = parse()
    from basicsr.deblur import process
    from basicsr.photos.runs import beside, run_photo

    def start(jobs: list[Any]) -> Callable[[Any], None]:
        deblurrer = load_pair(arguments)

        def do(job: Any) -> None:
            if arguments.side_by_side:  # replaces the result, as in the original
                job = replace(job, output=None, side_by_side=job.output)
            done = run_photo(deblurrer, job)
            if arguments.plot:
                show(beside(done.photo, done.result).pixels, job.source.name)

        return do

    names, extras = [arguments.input_path], ['kernel'] if arguments.save_kernel else []
    too_large = 'downscale or crop it'
    return process(names, arguments.out_dir, arguments.suffix, extras, arguments.overwrite, start, too_large)


def load_pair(arguments: argparse.Namespace) -> Any:
    """Load the analysis-synthesis pair named on the command line."""
    from basicsr.inference.deblurrer import Deblurrer
    from basicsr.utils.errors import WeightsError

    deblurrer = Deblurrer.load(arguments.weights, device=arguments.device, guard='off')  # as the original
    if not deblurrer.finds_kernel:
        advice = 'convert the published .h5 pair with scripts/convert_checkpoint.py'
        raise WeightsError(f'{arguments.weights} is not an AnalysisSynthesisNet; {advice}')
    analysis: Any = deblurrer.net.analysis
    if arguments.analysis_max_input_size is not None:
        analysis.limit_input(arguments.analysis_max_input_size)
    if arguments.analysis_crop is not None:
        analysis.analysis_crop = arguments.analysis_crop
    return deblurrer


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
