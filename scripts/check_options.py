"""Check option files: report every mistyped key, wrong type and unknown name with its file and line.

Network, losses, metrics, optimizer and schedule are also built, on the meta device.

Examples:
    python scripts/check_options.py -opt options/train/GoPro/*.yml
    python scripts/check_options.py -opt options/train/GoPro/NAFNet.yml --force_yml train:optim_g:lr=5e-4 --show
"""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse

from basicsr.options import add_force, dump, load_options
from basicsr.preflight import build_on_paper, check_paths
from basicsr.utils.console import run_and_exit
from basicsr.utils.errors import OptionError


def main(arguments: list[str] | None = None) -> int:
    """Check the files; return 1 if any of them has a mistake."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument(
        '-opt',
        required=True,
        nargs='+',
        action='extend',
        metavar='FILE',
        help='option files (YAML), or names of shipped ones',
    )
    add_force(parser)
    parser.add_argument('--show', action='store_true', help='print the options with all defaults and includes')
    parser.add_argument('--paths', action='store_true', help='also check that files and folders exist')
    args = parser.parse_args(arguments)

    wrong = 0
    for file in args.opt:
        try:
            options = load_options(file, args.force_yml)
            build_on_paper(options)
            if args.paths:
                check_paths(options)
        except OptionError as error:
            wrong += 1
            print('\n'.join(error.problems))
            continue
        print(f'---  # {file}\n{dump(options)}' if args.show else f'{file}: ok')
    return 1 if wrong else 0


if __name__ == '__main__':
    run_and_exit(main)
