"""Deblur photos and videos: python basicsr/deblur.py photo.jpg

Examples:
    python basicsr/deblur.py holiday/ -o sharp/ --side-by-side
    python basicsr/deblur.py "phone/**/*.jpg" clip.mp4 -o sharp/ --tile 512
    python basicsr/deblur.py photo.jpg --method kernel --save-kernel
    python basicsr/deblur.py large.jpg --max-side 2000 --strength 0.8
    python basicsr/deblur.py photo.jpg --model net_g_latest.pth --generator sam --sam-checkpoint sam_vit_b_01ec64.pth

Results keep name, size, orientation, EXIF, colour profile and bit depth. Existing results are not replaced unless you
pass --overwrite. If a photo fails, the rest are still processed and the exit code is 1. See docs/deblur.md.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')

import argparse
import contextlib
import dataclasses
import functools
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

logger = logging.getLogger(__name__)

OUTPUT = Path('results/deblurred')
GENERATOR = 'felzenszwalb'
SETTINGS = (
    *('device', 'dtype', 'tile', 'self_ensemble', 'guard'),
    *('method', 'strength', 'scale', 'max_side', 'max_kernels', 'force'),
)
"""Flags with the names of the arguments of ``Deblurrer``."""


def tile(text: str) -> Any:
    """Parse ``auto``, ``none`` or a number of pixels."""
    if text in ('auto', 'none'):
        return None if text == 'none' else 'auto'
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected auto, none or a number of pixels, got '{text}'")
    return int(text)


def suffix(text: str) -> str:
    """Parse the suffix of file names."""
    if '/' in text or '\\' in text:
        raise argparse.ArgumentTypeError(f"a suffix cannot contain '/' or '\\': '{text}'; use -o for the folder")
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.utils.installation import command_parser

    parser = command_parser(__doc__ or '')
    add, flag = parser.add_argument, functools.partial(parser.add_argument, action='store_true')
    add('photos', nargs='*', metavar='PATH', help='photos, videos, folders or quoted patterns')
    add('-i', '--input', nargs='+', default=[], metavar='PATH', help='the same as PATH')
    add('-o', '--output', type=Path, default=OUTPUT, metavar='DIR', help=f'folder for results (default: {OUTPUT})')
    model_help = 'network file, or name in experiments/pretrained_models (default: the bundled network)'
    add('--model', '--weights', metavar='NAME', help=model_help)
    method_help = (
        'kernel: deconvolve with blur kernels where they explain the photo; network: use the network; auto: both, and '
        'keep sharp photos (default: auto; with --model: network)'
    )
    add('--method', choices=('auto', 'network', 'kernel'), help=method_help)
    add('--strength', type=float, default=1.0, metavar='S', help='factor of the change, 0 to 1 (default: 1)')
    size = parser.add_mutually_exclusive_group()
    scale_help = 'deblur a copy scaled by S, and add its change to the photo; for large photos with large blur'
    size.add_argument('--scale', type=float, default=1.0, metavar='S', help=scale_help)
    size.add_argument(
        '--max-side', type=int, metavar='N', help='the same, with a copy of at most N pixels on each side'
    )
    add('--max-kernels', type=int, metavar='N', help='largest number of windows with their own kernels (default: 24)')
    flag('--force', help='use all kernels, even those that do not explain the photo')
    add('--kernel', type=Path, metavar='FILE', help='deconvolve with this blur kernel (.npy, or a gray image)')
    convention_help = 'correlation: the kernel in the file is rotated by 180 degrees (default: convolution)'
    add('--kernel-convention', choices=('convolution', 'correlation'), default='convolution', help=convention_help)
    mask_help = 'auto: generate masks; none: disable; DIR: read DIR/<name>.png (default: auto)'
    add('--masks', default='auto', metavar='auto|none|DIR', help=mask_help)
    add('--generator', default=GENERATOR, help='mask generator: felzenszwalb (needs no weights) or sam')
    add('--sam-checkpoint', metavar='FILE', help='Segment Anything weights; the model size is detected')
    add('--set', nargs='+', default=[], metavar='KEY=VALUE', help='more arguments of the mask generator')
    add('--mask-cache', metavar='DIR|none', help="folder for generated masks (default: in the user's cache folder)")
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    add('--dtype', choices=('auto', 'fp32', 'bf16'), default='auto', help='precision; auto: bf16 where fast and safe')
    tile_help = 'side of tiles in pixels; auto: use tiles if a photo does not fit into memory (default: auto)'
    add('--tile', type=tile, default='auto', metavar='auto|none|N', help=tile_help)
    flag('--self-ensemble', help='average over 8 flips and rotations; takes 8 times as long')
    guard_help = (
        'if the output is corrupted: retry, then keep the input in the affected areas (repair), write nothing '
        '(refuse), or only print a warning (warn); off: do not check (default: repair)'
    )
    add('--guard', choices=('repair', 'refuse', 'warn', 'off'), default='repair', help=guard_help)
    add('--suffix', type=suffix, default='_deblurred', help='text added to file names; may be "" (default: _deblurred)')
    flag('--side-by-side', help='also save photo and result in one image')
    sheet_help = 'also draw all photos and results on contact sheets (.jpg or .png) of 100 photos each'
    add('--contact-sheet', type=Path, metavar='FILE', help=sheet_help)
    flag('--save-masks', help='also save the masks and an image of them')
    flag('--save-kernel', help='also save the blur kernel, if there is one, as .npy and .png')
    flag('--overwrite', help='replace existing results')
    engine_help = 'ray: share the photos over the Ray cluster at RAY_ADDRESS, or over the CPUs or GPUs of this machine'
    add('--engine', choices=('local', 'ray'), default='local', help=engine_help)
    args = parser.parse_intermixed_args(arguments)  # photos may follow flags
    args.input = args.photos + args.input
    if args.engine == 'ray' and args.contact_sheet:
        parser.error('--contact-sheet needs --engine local')
    if not args.input:
        parser.error('pass a photo, a video, a folder or a quoted pattern')
    return args


def main(arguments: list[str] | None = None) -> int:
    """Deblur all inputs; return 1 if something failed."""
    args = parse(arguments)
    if sys.stderr.isatty():
        print('loading', file=sys.stderr)
    from tqdm import tqdm

    from basicsr.deconvolution.kernels import read_kernel
    from basicsr.photos.runs import run_job
    from basicsr.photos.sheet import PhotoSheet

    extras = {'side_by_side': args.side_by_side, 'masks': args.save_masks, 'kernel': args.save_kernel}
    wanted = [name for name, given in extras.items() if given]
    sheet = None if args.contact_sheet is None else PhotoSheet(args.contact_sheet)

    def start(jobs: list[Any]) -> Callable[[Any], None]:
        if sheet is not None:
            require_free(sheet.path, args.overwrite, jobs)
        kernel = None if args.kernel is None else read_kernel(args.kernel, args.kernel_convention)
        results: Iterator[tuple[str, str]] | None = None
        # with Ray as well, errors appear before the first photo; this machine may lack the device of the tasks
        here = {} if args.engine == 'local' else {'device': 'cpu', 'dtype': 'fp32'}
        deblurrer = load_deblurrer(argparse.Namespace(**{**vars(args), **here}))
        if args.engine == 'ray':
            from basicsr.utils.ray_map import RayMap

            engine = closing.enter_context(RayMap(args.device))
            results = engine(DeblurJob(args, kernel), [absolute(job) for job in jobs])

        def do(job: Any) -> None:
            line, warning = run_job(deblurrer, job, args.masks, sheet, kernel) if results is None else next(results)
            tqdm.write(line)
            if warning:
                tqdm.write(f'{job.source}: {warning}', file=sys.stderr)

        return do

    with contextlib.ExitStack() as closing:
        if sheet is not None:
            closing.callback(sheet.save)  # also after an interruption
        return process(args.input, args.output, args.suffix, wanted, args.overwrite, start, 'try a smaller --tile')


class DeblurJob:
    """Deblurs a photo or a video in a process of Ray, which loads the network for its first one.

    Args:
        args: of the command line.
        kernel: known blur kernel; None without one.
    """

    def __init__(self, args: argparse.Namespace, kernel: Any) -> None:
        self._args, self._kernel = argparse.Namespace(**vars(args)), kernel
        self._deblurrer: Any = None
        for name in ('model', 'sam_checkpoint', 'masks', 'mask_cache'):
            value = getattr(args, name)
            new = name == 'mask_cache' and value != 'none'
            if value is not None and (new or Path(value).exists()):  # processes of Ray have other working folders
                setattr(self._args, name, str(Path(value).resolve()))

    def __call__(self, job: Any) -> tuple[str, str]:
        """Do one job; see :func:`~basicsr.photos.runs.run_job`."""
        from basicsr.photos.runs import run_job

        if self._deblurrer is None:
            self._deblurrer = load_deblurrer(self._args)
        return run_job(self._deblurrer, job, self._args.masks, None, self._kernel)


def absolute(job: Any) -> Any:
    """Return a job with absolute paths."""
    paths = {name: value.resolve() for name, value in vars(job).items() if isinstance(value, Path) and name != 'below'}
    return dataclasses.replace(job, **paths)


def process(
    names: Iterable[str | Path],
    output: Path,
    suffix: str,
    extras: list[str],
    overwrite: bool,
    start: Callable[[list[Any]], Callable[[Any], None]],
    too_large: str,
) -> int:
    """Find photos and videos, deblur them, and print notes, failures and a summary.

    Args:
        names: files, folders and patterns, see :func:`~basicsr.photos.jobs.list_inputs`.
        output: folder for results.
        suffix: added to file names.
        extras: further results, see :func:`~basicsr.photos.jobs.plan`.
        overwrite: replace existing results.
        start: called with the jobs to do, if there are any; returns the function that does one.
        too_large: advice for a file that does not fit into memory.

    Returns:
        the exit code: 1 if something failed.

    Raises:
        BasicsrError: a result would overwrite an input, or as ``start``.
        OSError: a folder cannot be written.
    """
    from basicsr.photos.jobs import left_to_do, list_inputs, plan
    from basicsr.photos.runs import do_all

    inputs = list_inputs(names)
    jobs = left_to_do(plan(inputs, output, suffix, extras), inputs, overwrite)
    for note in inputs.notes:
        print(note, file=sys.stderr)
    failed = inputs.missing
    if jobs:
        do = start(jobs)
        for folder in dict.fromkeys([output, *(path.parent for job in jobs for path in job.files())]):
            require_writable(folder)
        begin = time.perf_counter()
        new = do_all(jobs, do, too_large)
        print(f'{len(jobs) - len(new)} of {len(jobs)} in {time.perf_counter() - begin:.1f} s: {output}')
        failed |= new
    for name, reason in failed.items():
        print(reason if name in reason else f'{name}: {reason}', file=sys.stderr)
    return 1 if failed else 0


def require_writable(folder: Path) -> None:
    """Create a folder for results and check that it is writable.

    Raises:
        OSError: it is not; ``filename`` is the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def require_free(first: Path, overwrite: bool, jobs: list[Any]) -> None:
    """Create the folder of the contact sheets; raise if they would replace existing files or photos."""
    from basicsr.photos.sheet import sheet_paths
    from basicsr.utils.errors import DataError

    for sheet in sheet_paths(first, len(jobs)):
        if sheet.exists() and not overwrite:
            raise DataError(f'--contact-sheet {sheet} exists; pass --overwrite to replace it')
        if sheet.exists() and sheet.resolve() in [job.source.resolve() for job in jobs]:
            raise DataError(f'--contact-sheet {sheet} is one of the photos; choose another name')
    require_writable(first.parent)


def load_deblurrer(args: argparse.Namespace) -> Any:
    """Load the network and its mask generator named on the command line."""
    from basicsr.inference.deblurrer import Deblurrer
    from basicsr.masks.cache import MaskCache
    from basicsr.masks.generator import block_of_flags
    from basicsr.utils.errors import OptionError

    if args.generator == 'sam' and args.sam_checkpoint is None:
        raise OptionError('--generator sam requires --sam-checkpoint FILE (Segment Anything weights)')
    settings = ['model=auto', *args.set] if args.generator == 'sam' else args.set
    own = args.masks not in ('auto', 'none')
    if own and not Path(args.masks).is_dir():
        raise OptionError(f'--masks {args.masks}: expected auto, none or a folder of mask files')
    deblurrer = Deblurrer.load(
        args.model,
        masks='none' if args.masks == 'none' else 'auto',
        generator=block_of_flags(args.generator, args.sam_checkpoint, args.device, settings),
        cache=None if args.mask_cache == 'none' else MaskCache(Path(args.mask_cache) if args.mask_cache else None),
        **{key: getattr(args, key) for key in SETTINGS if getattr(args, key) is not None},
    )
    if args.save_kernel and not deblurrer.finds_kernel and deblurrer.method == 'network' and args.kernel is None:
        raise OptionError(f'--save-kernel: {deblurrer.name} estimates no kernel; use --method kernel or auto')
    if not deblurrer.takes_masks and (flags := passed(save_masks=args.save_masks, masks=own)):
        raise OptionError(f'{flags}: {deblurrer.name} takes no masks; choose a network with masks')
    if deblurrer.takes_masks and args.masks == 'auto':
        _ = deblurrer.generator  # raises errors before the first photo
    elif flags := passed(generator=args.generator != GENERATOR, set=args.set, sam_checkpoint=args.sam_checkpoint):
        reason = f'--masks is {args.masks}' if deblurrer.takes_masks else f'{deblurrer.name} takes no masks'
        logger.warning('%s: ignored, because %s', flags, reason)
    return deblurrer


def passed(**values: Any) -> str:
    """Return the names of the flags whose value is set, with commas."""
    return ', '.join(f'--{name.replace("_", "-")}' for name, value in values.items() if value)


def command() -> int:
    """Run :func:`main` as a program and return the exit code."""
    from basicsr.utils.console import end_on_signals, run

    end_on_signals()
    return run(main)


if __name__ == '__main__':
    sys.exit(command())
