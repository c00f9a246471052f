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
    return arguments


@contextmanager
def engine_of(name: str, workers: int, gpus: bool) -> Iterator[Any]:
    """Provide the engine of ``make_masks`` for several processes."""
    if name == 'ray':
        from basicsr.utils.ray_map import RayMap

        with RayMap(gpus=gpus) as cluster:
            yield cluster
    else:
        from basicsr.preparation.worker_pool import Pool

        with Pool(workers) as pool:
            yield pool.each


def main() -> int:
    """Make the masks; return 1 if an image failed."""
    import os

    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.masks.converting import convert_masks
    from basicsr.masks.generator import LateGenerator, block_of_flags, build_generator
    from basicsr.masks.making import make_masks, shards_of_environment, with_progress
    from basicsr.masks.mask_images import Companion, GrayImages, Overlays
    from basicsr.utils.device import device_of_process, select_device

    companions: list[Companion] = [] if arguments.overlay is None else [Overlays(arguments.overlay)]
    if arguments.gray is not None:
        companions.append(GrayImages(arguments.gray, arguments.gray_coding))
    source, photos, target, force = arguments.source, arguments.input, arguments.output, arguments.force
    if source is not None:
        summary = convert_masks(source, target, photos, companions, force, with_progress)
    else:
        part = arguments.shard or shards_of_environment()
        device = device_of_process(arguments.device, int(os.environ.get('LOCAL_RANK', 0)))
        block = block_of_flags(arguments.generator, arguments.checkpoint, device, arguments.set)
        generator = build_generator(block)
        how: dict[str, Any] = {'progress': with_progress, 'batch_size': arguments.batch_size}
        if arguments.engine == 'local' and arguments.workers == 1:
            summary = make_masks(photos, target, generator, part, companions, force, **how)
        else:
            late = LateGenerator(block, generator.settings)  # built in each process, with Ray on its own GPU
            with engine_of(arguments.engine, arguments.workers, select_device(device).type == 'cuda') as engine:
                part = (0, 1) if arguments.engine == 'ray' else part
                places = photos.resolve(), target.resolve()
                summary = make_masks(*places, late, part, companions, force, engine=engine, **how)
    print(summary.text())
    return 1 if summary.failed else 0


def command() -> int:
    """Run :func:`main` as a program and return the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
