"""Make blur kernels: paths of a shaken camera, short straight lines and defocus discs, or kernels from files.

Kaufman and Fattal (CVPR 2020) did not publish their generator of kernels; this recipe is our own.

Examples:
    python scripts/make_kernels.py -o kernels
    python scripts/make_kernels.py -o kernels --count 200 --size 41 --extent 5 37 --seed 1
    python scripts/make_kernels.py -o kernels --kinds shake=8 line=1 disc=1
    python scripts/make_kernels.py -o kernels --files measured

The output folder gets one array per kernel (kernels/000000.npy, float32, sum 1, centre of mass in the middle), a table
(kernels.csv) and a contact sheet (kernels.png). A kernel depends on its number, the seed and the options alone.
"""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse
import logging


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.utils.console import share_of

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('-o', '--output', type=Path, required=True, metavar='DIR', help='output folder, which must not exist')
    add('--count', type=int, default=100, metavar='N', help='number of kernels (default: 100)')
    add('--size', type=int, default=85, metavar='N', help='height and width of the kernels, odd (default: 85)')
    extent_help = 'range of the longer side of the shapes in pixels (default: 5 to size - 4)'
    add('--extent', nargs=2, type=float, metavar=('MIN', 'MAX'), help=extent_help)
    kinds_help = 'proportions of the kinds shake, line, disc and file; default: 0.92, 0.04 and 0.04, or only file'
    add('--kinds', nargs='+', type=share_of(('shake', 'line', 'disc', 'file')), metavar='KIND=SHARE', help=kinds_help)
    files_help = 'a kernel (.npy or .png), or a folder of kernels, for the kind file'
    add('--files', type=Path, metavar='PATH', help=files_help)
    add('--seed', type=int, default=0, help='seed of all random numbers (default: 0)')
    return parser.parse_args()


def main() -> int:
    """Make the kernels, the table and the contact sheet."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.data.blur_kernels import RandomKernels
    from basicsr.preparation.kernel_sets import write_kernels

    extent = None if arguments.extent is None else (arguments.extent[0], arguments.extent[1])
    kinds = None if arguments.kinds is None else dict(arguments.kinds)
    kernels = RandomKernels(arguments.size, extent, kinds, arguments.files)
    sheet = write_kernels(kernels, arguments.count, arguments.seed, arguments.output)
    print(f'{arguments.count} kernels in {arguments.output}; see {sheet}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
