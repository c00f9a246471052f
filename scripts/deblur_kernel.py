"""Deblur photos with the analysis-synthesis pair, which finds the blur kernel of a photo and uses it.

For blur that is the same all over the photo, up to 85 pixels; scale photos with larger blur down.

Examples:
    python scripts/deblur_kernel.py -i photo.jpg -o results/sharp
    python scripts/deblur_kernel.py -i photos -o results/sharp -s "" --save-kernel --side_by_side

The weights come from scripts/convert_checkpoint.py. Exit code 1 if a photo could not be deblurred; the others are.
"""

from __future__ import annotations

import argparse
import runpy
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

WEIGHTS = 'analysis-synthesis'


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--input_path', '-i', type=Path, required=True, metavar='PATH', help='a photo, or a folder of photos')
    add('--out_dir', '-o', type=Path, default=Path('results'), metavar='DIR', help='where results go (results)')
    add('--suffix', '-s', default='_deblurred', help='added to the name; "" keeps it (_deblurred)')
    add(
        '--weights',
        '-w',
        default=WEIGHTS,
        metavar='NAME',
        help=f'a file, or the name of one as in deblur.py ({WEIGHTS})',
    )
    add(
        '--analysis_max_input_size',
        '-amis',
        type=int,
        nargs='+',
        metavar='N',
        help='find the kernel in the centre of larger photos: one number (a square) or two (height width)',
    )
    add(
        '--analysis-crop',
        choices=('whole', 'reference'),
        help='what the kernel is found in; reference: a centre crop of a size that the original accepts',
    )
    add('--plot', '-p', action='store_true', help='show photo and result side by side')
    add('--side_by_side', '-sbs', action='store_true', help='save photo and result in one picture, the photo left')
    add('--save-kernel', action='store_true', help='also save NAME_kernel.png and NAME_kernel.npy')
    add('--overwrite', action='store_true', help='replace results that are there')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    return parser.parse_args()


def show(picture: Any, title: str) -> None:
    """Open a picture in the system's viewer."""
    import numpy as np
    from PIL import Image, ImageShow

    eight_bits = picture if picture.dtype == np.uint8 else (picture // 257).astype(np.uint8)
    if not ImageShow.show(Image.fromarray(eight_bits.squeeze()), title):
        print(f'{title}: no program was found that shows pictures; use --side_by_side', file=sys.stderr)


def main() -> int:
    """Deblur all photos; exit code 1 if one has failed."""
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
        failed |= deblur(todo, arguments)
    for line in failures_in_words(failed):
        print(line, file=sys.stderr)
    return 1 if failed else 0


def deblur(jobs: list[Any], arguments: argparse.Namespace) -> dict[str, str]:
    """Deblur photos; why some have failed, by their names."""
    from basicsr.photos.runs import beside, do_all, run_photo

    deblurrer = build(arguments)
    arguments.out_dir.mkdir(parents=True, exist_ok=True)

    def do(job: Any) -> None:
        if arguments.side_by_side:  # in place of the result, as the original does
            job = replace(job, output=None, side_by_side=job.output)
        done = run_photo(deblurrer, job)
        if arguments.plot:
            show(beside(done.photo, done.result).pixels, job.source.name)

    start = time.perf_counter()
    failed = do_all(jobs, do, 'scale it down or cut it')
    seconds = time.perf_counter() - start
    print(f'{len(jobs) - len(failed)} of {len(jobs)} photos in {seconds:.1f} s: {arguments.out_dir}')
    return failed


def build(arguments: argparse.Namespace) -> Any:
    """The pair, as the command line says."""
    from basicsr.inference.deblurrer import Deblurrer
    from basicsr.utils.errors import WeightsError

    deblurrer = Deblurrer.load(arguments.weights, device=arguments.device, guard='off')  # as the original
    if not deblurrer.finds_kernel:
        raise WeightsError(
            f'{arguments.weights} is no AnalysisSynthesisNet; scripts/convert_checkpoint.py makes one of the published '
            '.h5 pair'
        )
    analysis: Any = deblurrer.net.analysis
    if arguments.analysis_max_input_size is not None:
        analysis.limit_input(arguments.analysis_max_input_size)
    if arguments.analysis_crop is not None:
        analysis.analysis_crop = arguments.analysis_crop
    return deblurrer


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
