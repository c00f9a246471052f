"""Write a stand-in for a benchmark: a few synthetic pairs in the folder layout and under the names of the real set.

Use it to try scripts/prepare_data.py, scripts/check_data.py and training before the download. Scores on it say nothing
about the benchmark.

Examples:
    python scripts/make_standin.py gopro --root results/standin/GOPRO_Large
    python scripts/make_standin.py reds300 --root results/standin/REDS --layout nafnet --count 5 --size 360 640
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('set', help='name of the benchmark, as in scripts/prepare_data.py')
    add('--root', type=Path, required=True, metavar='DIR', help='output folder; must be empty or new')
    add('--layout', help='folder layout of prepare_data.py; default: the original')
    add('--count', type=int, default=2, metavar='N', help='number of pairs in each part (default: 2)')
    add('--size', type=int, nargs=2, default=(720, 1280), metavar=('H', 'W'), help='image size (default: 720 1280)')
    add('--parts', nargs='+', default=[], metavar='PART', help='names of parts; default: as prepare_data.py')
    add('--photos', type=Path, metavar='DIR', help='sharp photos to blur; default: synthetic images')
    add('--seed', type=int, default=0, help='random seed (default: 0)')
    arguments = vars(parser.parse_args())

    from basicsr.preparation.benchmark_sets import benchmark_set
    from basicsr.preparation.standin import make_standin

    name = arguments.pop('set')
    files = make_standin(benchmark_set(name), **arguments)
    print(f'{len(files)} pairs in {arguments["root"]}; they are synthetic, not images of {name}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
