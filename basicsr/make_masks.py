"""Make region masks for a folder of photos: label maps as 16-bit PNG, <output>/<name>.png.

Examples:
    python scripts/make_masks.py --input photos --output masks
    python scripts/make_masks.py --input photos --output masks --generator sam --checkpoint sam_vit_h_4b8939.pth
    torchrun --nproc_per_node 8 scripts/make_masks.py --input photos --output masks --generator sam --checkpoint FILE
    python scripts/make_masks.py --from masks_of_another_tool --output masks --input photos

Run it again after an interruption: existing masks are kept and the missing ones are made.
"""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')


def shard(text: str) -> tuple[int, int]:
    """Parse ``i/n`` into two numbers."""
    index, slash, count = text.partition('/')
    if not slash or not index.isdigit() or not count.isdigit():
        raise argparse.ArgumentTypeError(f"expected i/n, such as 0/4, got '{text}'")
    return int(index), int(count)


def positive(text: str) -> int:
    """Parse a number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got '{text}'")
    return int(text)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.utils.installation import command_parser

    parser = command_parser(__doc__ or '')
    add = parser.add_argument
    add('--input', type=Path, metavar='DIR', help='folder of photos, including its sub-folders')
    add('--output', type=Path, required=True, metavar='DIR', help='folder for the masks')
    from_help = 'convert masks of another tool instead of generating masks; --input DIR checks their sizes'
    add('--from', dest='source', type=Path, metavar='DIR', help=from_help)
    add('--generator', default='felzenszwalb', help='mask generator: felzenszwalb (needs no weights) or sam')
    add('--checkpoint', metavar='FILE', help='weights of the mask generator')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    add('--set', nargs='+', default=[], metavar='KEY=VALUE', help='more arguments of the mask generator')
    add('--shard', type=shard, metavar='i/n', help='process every n-th image, starting at index i (0/1: all)')
    engine_help = 'ray: share the images over the Ray cluster at RAY_ADDRESS, or over the CPUs or GPUs of this machine'
    add('--batch-size', type=positive, default=1, metavar='N', help='photos that a network encodes together')
    workers_help = 'processes on this machine, for generators without a network; each makes masks of its own photos'
    add('--workers', type=positive, default=1, metavar='N', help=workers_help)
    add('--engine', choices=('local', 'ray'), default='local', help=engine_help)
    add('--overlay', type=Path, metavar='DIR', help='also draw the regions over the photos')
    add('--gray', type=Path, metavar='DIR', help='also write the gray masks of the CAT method')
    coding_help = 'gray values of masks; reference: sum of the codes, as in the original (default: fixed)'
    add('--gray-coding', choices=('fixed', 'reference'), default='fixed', help=coding_help)
    add('--force', action='store_true', help='recreate all masks')
    arguments = parser.parse_args()
    if arguments.engine == 'ray' and (arguments.shard or arguments.source):
        parser.error('--engine ray shares all images itself: leave out --shard and --from')
    if arguments.workers > 1 and (arguments.engine == 'ray' or arguments.source):
        parser.error('--workers is for --engine local, and not for --from')
    if arguments.input is None and arguments.source is None:
        parser.error('pass --input DIR (a folder of photos) or --from DIR (masks to convert)')
    if arguments.engine == 'ray':  # its processes have other working folders
        for name in ('input', 'output', 'overlay', 'gray', 'checkpoint'):
            value = getattr(arguments, name)
            setattr(arguments, name, None if value is None else Path(value).resolve())
    return arguments


@contextmanager
def engine_of(name: str, workers: int, device: str) -> Iterator[Any]:
    """Provide the engine of ``make_masks`` for several processes.

    Args:
        name: ``ray`` or ``local``.
        workers: number of processes, locally.
        device: of the generator; ``cpu`` if it has none.
    """
    if name == 'ray':
        from basicsr.utils.ray_map import RayMap

        with RayMap(device) as cluster:
            yield cluster
    else:
        from basicsr.preparation.worker_pool import Pool

        with Pool(workers) as pool:
            yield pool.each


def main() -> int:
    """Make the masks; return 1 if an image failed."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.masks.converting import convert_masks
    from basicsr.masks.generator import LateGenerator, block_of_flags, build_generator, settings_of
    from basicsr.masks.making import make_masks, shards_of_environment, with_progress
    from basicsr.masks.mask_images import Companion, GrayImages, Overlays
    from basicsr.utils.device import device_of_process, local_rank

    companions: list[Companion] = [] if arguments.overlay is None else [Overlays(arguments.overlay)]
    if arguments.gray is not None:
        companions.append(GrayImages(arguments.gray, arguments.gray_coding))
    source, photos, target, force = arguments.source, arguments.input, arguments.output, arguments.force
    by_ray, workers = arguments.engine == 'ray', arguments.workers
    if source is not None:
        summary = convert_masks(source, target, photos, companions, force, with_progress)
    else:
        part = (0, 1) if by_ray else arguments.shard or shards_of_environment()
        device = arguments.device if by_ray else device_of_process(arguments.device, local_rank())
        block = block_of_flags(arguments.generator, arguments.checkpoint, device, arguments.set)
        how: dict[str, Any] = {'progress': with_progress, 'batch_size': arguments.batch_size}
        if by_ray or workers > 1:
            with engine_of(arguments.engine, workers, block.get('device', 'cpu')) as engine:
                # with Ray, this machine may lack the device, and precision may depend on it
                settings = next(iter(engine(settings_of, [block]))) if by_ray else settings_of(block)
                generator = LateGenerator(block, *settings)  # built in each process
                summary = make_masks(photos, target, generator, part, companions, force, engine=engine, **how)
        else:
            summary = make_masks(photos, target, build_generator(block), part, companions, force, **how)
    print(summary.text())
    return 1 if summary.failed else 0


def command() -> int:
    """Run :func:`main` as a program and return the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
