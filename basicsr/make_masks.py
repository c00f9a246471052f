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
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')


def shard(text: str) -> tuple[int, int]:
    """Parse ``i/n`` into two numbers."""
    index, slash, count = text.partition('/')
    if not slash or not index.isdigit() or not count.isdigit():
        raise argparse.ArgumentTypeError(f"expected i/n, such as 0/4, got '{text}'")
    return int(index), int(count)


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
    add('--overlay', type=Path, metavar='DIR', help='also draw the regions over the photos')
    add('--gray', type=Path, metavar='DIR', help='also write the gray masks of the CAT method')
    coding_help = 'gray values of masks; reference: sum of the codes, as in the original (default: fixed)'
    add('--gray-coding', choices=('fixed', 'reference'), default='fixed', help=coding_help)
    add('--force', action='store_true', help='make all masks again and replace existing ones')
    arguments = parser.parse_args()
    if arguments.input is None and arguments.source is None:
        parser.error('pass --input DIR (a folder of photos) or --from DIR (masks to convert)')
    return arguments


def main() -> int:
    """Make the masks; return 1 if an image failed."""
    import os

    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.masks.converting import convert_masks
    from basicsr.masks.generator import block_of_flags, build_generator
    from basicsr.masks.making import make_masks, shards_of_environment, with_progress
    from basicsr.masks.mask_images import Companion, GrayImages, Overlays
    from basicsr.utils.device import device_of_process

    companions: list[Companion] = [] if arguments.overlay is None else [Overlays(arguments.overlay)]
    if arguments.gray is not None:
        companions.append(GrayImages(arguments.gray, arguments.gray_coding))
    source, photos, target, force = arguments.source, arguments.input, arguments.output, arguments.force
    if source is not None:
        summary = convert_masks(source, target, photos, companions, force, with_progress)
    else:
        part = arguments.shard or shards_of_environment()
        device = device_of_process(arguments.device, int(os.environ.get('LOCAL_RANK', 0)))
        generator = build_generator(block_of_flags(arguments.generator, arguments.checkpoint, device, arguments.set))
        summary = make_masks(photos, target, generator, part, companions, force, with_progress)
    print(summary.text())
    return 1 if summary.failed else 0


def command() -> int:
    """Run :func:`main` as a program and return the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
