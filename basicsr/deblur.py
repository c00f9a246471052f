"""Deblur photos and videos: python basicsr/deblur.py -i photo.jpg -o sharp/

Examples:
    python basicsr/deblur.py -i holiday/ -o sharp/ --side-by-side
    python basicsr/deblur.py -i "phone/**/*.jpg" clip.mp4 -o sharp/ --tile 512
    python basicsr/deblur.py -i photo.jpg -o sharp/ --model analysis-synthesis --save-kernel
    python basicsr/deblur.py -i photo.jpg -o sharp/ --generator sam --sam-checkpoint sam_vit_b_01ec64.pth

A result keeps the name, size, orientation, colour profile, EXIF and bit depth of its photo. What is there already is
kept (see --overwrite). Exit code 1 if a photo could not be deblurred; the others are. docs/deblur.md explains all this.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')

import argparse
import logging
import signal
import tempfile
import time
from typing import Any

OUTPUT = Path('results/deblurred')


def tile(text: str) -> Any:
    """``auto``, ``none`` or a number of pixels."""
    if text in ('auto', 'none'):
        return None if text == 'none' else 'auto'
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is neither auto, none nor a number of pixels")
    return int(text)


def suffix(text: str) -> str:
    """The end of a name, which leads into no other folder."""
    if '/' in text or '\\' in text:
        raise argparse.ArgumentTypeError(f"'{text}' is no part of a file name; -o names the folder")
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from basicsr.utils.installation import with_commands

    parser = argparse.ArgumentParser(
        description=with_commands(__doc__ or ''), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('-i', '--input', nargs='+', required=True, metavar='PATH', help='photos, folders, quoted patterns, videos')
    add('-o', '--output', type=Path, default=OUTPUT, metavar='DIR', help=f'folder of the results ({OUTPUT})')
    add(
        '--model',
        '--weights',
        metavar='NAME',
        help='a network file, or the name of one in experiments/pretrained_models',
    )
    add('--masks', default='auto', metavar='auto|none|DIR', help='made, left out, or <name>.png of a folder (auto)')
    add('--generator', default='felzenszwalb', help='what makes masks: felzenszwalb (needs no weights) or sam')
    add('--sam-checkpoint', metavar='FILE', help='weights of Segment Anything, of any of its three sizes')
    add('--set', nargs='+', default=[], metavar='KEY=VALUE', help='further arguments of the generator')
    add('--mask-cache', metavar='DIR|none', help="where masks are kept; the user's cache folder by default")
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    add('--dtype', choices=('auto', 'fp32', 'bf16'), default='auto', help='arithmetic of the network')
    add('--tile', type=tile, default='auto', metavar='auto|none|N', help='cut large photos into tiles of N pixels')
    add('--self-ensemble', action='store_true', help='mean over 8 flips and rotations: 8 times the time')
    add(
        '--guard',
        choices=('repair', 'refuse', 'warn', 'off'),
        default='repair',
        help='if the network collapses: try other ways, then show the photo there (repair); write nothing (refuse)',
    )
    add('--suffix', type=suffix, default='_deblurred', help='added to the names of results; "" keeps them (_deblurred)')
    add('--side-by-side', action='store_true', help='also save photo and result in one picture')
    add(
        '--contact-sheet',
        type=Path,
        metavar='FILE',
        help='also draw an image (.jpg) of all photos and results, one for every 100',
    )
    add('--save-masks', action='store_true', help='also save the masks, and a picture of them')
    add('--save-kernel', action='store_true', help='also save the blur kernel, of networks that find one')
    add('--overwrite', action='store_true', help='replace results that are there')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Deblur everything; exit code 1 if something has failed."""
    args = parse(arguments)
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.photos.jobs import failures_in_words, left_to_do, list_inputs, plan

    inputs = list_inputs(args.input)
    extras = {'side_by_side': args.side_by_side, 'masks': args.save_masks, 'kernel': args.save_kernel}
    jobs = plan(inputs, args.output, args.suffix, [name for name, wanted in extras.items() if wanted])
    todo = left_to_do(jobs, inputs, args.overwrite)
    for note in inputs.notes:
        print(note, file=sys.stderr)
    failed = dict(inputs.missing)
    if todo:
        require_free(args.contact_sheet, args.overwrite, [job.source for job in jobs], len(todo))
        for folder in dict.fromkeys([args.output, *(path.parent for job in todo for path in job.files())]):
            open_folder(folder)
        if args.contact_sheet is not None:
            open_folder(args.contact_sheet.parent)
        failed |= deblur(todo, args)
    for line in failures_in_words(failed):
        print(line, file=sys.stderr)
    return 1 if failed else 0


def open_folder(folder: Path) -> None:
    """Make the folder of the results, and find out now whether it can be written.

    Raises:
        OSError: it cannot; its ``filename`` is the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def require_free(first: Path | None, overwrite: bool, sources: list[Path], photos: int) -> None:
    """Refuse contact sheets that would take the place of files."""
    from basicsr.photos.sheet import sheet_paths
    from basicsr.utils.errors import DataError

    for sheet in [] if first is None else sheet_paths(first, photos):
        if sheet.exists() and not overwrite:
            raise DataError(f'--contact-sheet {sheet} is there already; --overwrite replaces it')
        if sheet.exists() and sheet.resolve() in [source.resolve() for source in sources]:
            raise DataError(f'--contact-sheet {sheet} is one of the photos; choose another name')


def build(args: argparse.Namespace) -> Any:
    """The network with its masks, as the command line says."""
    from basicsr.inference.deblurrer import Deblurrer
    from basicsr.masks.cache import MaskCache
    from basicsr.masks.generator import block_of_flags
    from basicsr.utils.errors import OptionError

    if args.generator == 'sam':
        if args.sam_checkpoint is None:
            raise OptionError('--generator sam needs --sam-checkpoint FILE: the weights of Segment Anything')
        args.set = ['model=auto', *args.set]
    if args.masks not in ('auto', 'none') and not Path(args.masks).is_dir():
        raise OptionError(f'--masks {args.masks}: neither auto, none nor a folder of mask files')
    cache = None if args.mask_cache == 'none' else MaskCache(Path(args.mask_cache) if args.mask_cache else None)
    deblurrer = Deblurrer.load(
        args.model,
        device=args.device,
        dtype=args.dtype,
        masks='none' if args.masks == 'none' else 'auto',
        generator=block_of_flags(args.generator, args.sam_checkpoint, args.device, args.set),
        cache=cache,
        tile=args.tile,
        self_ensemble=args.self_ensemble,
        guard=args.guard,
    )
    if args.save_kernel and not deblurrer.finds_kernel:
        raise OptionError(f'--save-kernel: {deblurrer.name} finds no kernel; --model analysis-synthesis does')
    if not deblurrer.takes_masks and (args.save_masks or args.masks not in ('auto', 'none')):
        raise OptionError(f'--masks, --save-masks: {deblurrer.name} takes no masks')
    if deblurrer.takes_masks and args.masks == 'auto':
        _ = deblurrer.generator  # what is wrong with it is said before the first photo
    return deblurrer


def deblur(jobs: list[Any], args: argparse.Namespace) -> dict[str, str]:
    """Do photos and videos and say how it went; why some have failed, by their names."""
    from tqdm import tqdm

    from basicsr.photos.runs import do_all, run_job
    from basicsr.photos.sheet import PhotoSheet

    sheet = None if args.contact_sheet is None else PhotoSheet(args.contact_sheet)
    deblurrer = build(args)

    def do(job: Any) -> None:
        report = run_job(deblurrer, job, args.masks, sheet)
        tqdm.write(report.line)
        if report.warning:
            tqdm.write(f'{job.source}: {report.warning}', file=sys.stderr)

    start = time.perf_counter()
    try:
        failed = do_all(jobs, do, 'try a smaller --tile')
    finally:  # an interrupted run has one of what was done
        if sheet is not None:
            sheet.save()
    seconds = time.perf_counter() - start
    print(f'{len(jobs) - len(failed)} of {len(jobs)} in {seconds:.1f} s: {args.output}')
    return failed


def command() -> int:
    """Run :func:`main` as a program; returns the exit code."""
    from basicsr.utils.console import run

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # half a file is taken away
    return run(main)


if __name__ == '__main__':
    sys.exit(command())
