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
import time
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
    add('--out_dir', '-o', type=Path, default=Path('results'), metavar='DIR', help='folder (default: results)')
    add('--suffix', '-s', default='_deblurred', help='added to file names; may be "" (default: _deblurred)')
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
    from basicsr.photos.jobs import failures_in_words, left_to_do, list_inputs, plan
    from basicsr.utils.errors import DataError

    inputs = list_inputs([arguments.input_path])
    jobs = plan(inputs, arguments.out_dir, arguments.suffix, ['kernel'] if arguments.save_kernel else [])
    if not jobs:
        raise DataError('\n'.join(failures_in_words(inputs.missing)))
    todo = left_to_do(jobs, inputs, arguments.overwrite)
    for note in inputs.notes:
        print(note, file=sys.stderr)
    failed = dict(inputs.missing)
    if todo:
        failed |= run_jobs(todo, arguments)
    for line in failures_in_words(failed):
        print(line, file=sys.stderr)
    return 1 if failed else 0


def run_jobs(jobs: list[Any], arguments: argparse.Namespace) -> dict[str, str]:
    """Deblur photos and return the reasons of failures by file name."""
    from basicsr.photos.runs import beside, do_all, run_photo

    deblurrer = load_pair(arguments)
    arguments.out_dir.mkdir(parents=True, exist_ok=True)

    def do(job: Any) -> None:
        if arguments.side_by_side:  # replaces the result, as in the original
            job = replace(job, output=None, side_by_side=job.output)
        done = run_photo(deblurrer, job)
        if arguments.plot:
            show(beside(done.photo, done.result).pixels, job.source.name)

    start = time.perf_counter()
    failed = do_all(jobs, do, 'downscale or crop it')
    seconds = time.perf_counter() - start
    print(f'{len(jobs) - len(failed)} of {len(jobs)} photos in {seconds:.1f} s: {arguments.out_dir}')
    return failed


def load_pair(arguments: argparse.Namespace) -> Any:
    """Load the analysis-synthesis pair as given on the command line."""
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
    from basicsr.utils.console import run

    sys.exit(run(main))
