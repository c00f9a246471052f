"""Check data sets: counts, pairs, sizes, readable files, masks, duplicates. Exit code 1 if anything is wrong.

Writes report.md, report.json and contact_sheet.jpg.

Examples:
    python scripts/check_data.py -opt options/train/GoPro/SAMDeblur.yml
    python scripts/check_data.py --root datasets/GoPro --workers 8
    python scripts/check_data.py --root datasets/GoPro --quick --out results/check_data/GoPro
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.options.loading import add_force

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('-opt', metavar='FILE', help='option file; check all its data sets')
    root_help = 'folder made by scripts/prepare_data.py, or with the same layout'
    what.add_argument('--root', type=Path, metavar='DIR', help=root_help)
    add_force(parser)
    add = parser.add_argument
    add('--quick', action='store_true', help='decode only a sample of the images')
    add('--workers', type=int, default=1, metavar='N', help='number of worker processes (default: 1)')
    add('--out', type=Path, metavar='DIR', help='output folder; default: results/check_data/<name>')
    add('--rows', type=int, default=4, metavar='N', help='pairs per data set on the contact sheet (default: 4)')
    return parser.parse_args()


def main() -> int:
    """Run the checks; write and print the report."""
    arguments = parse()
    from basicsr.options import load_options
    from basicsr.preparation.checks.data_sets import check_data_sets
    from basicsr.preparation.checks.folders import folders_of_options, folders_of_root
    from basicsr.preparation.checks.report import report_markdown, write_check_report

    if arguments.opt:
        options = load_options(arguments.opt, arguments.force_yml)
        name = options.name
        sets = folders_of_options(options.as_dict()['datasets'])
    else:
        name = arguments.root.resolve().name
        sets = folders_of_root(arguments.root)
    checked = check_data_sets(sets, arguments.quick, arguments.workers, True)
    out = arguments.out or Path('results') / 'check_data' / name
    write_check_report(checked, out, f'Check of {name}', arguments.rows)
    print(report_markdown(checked, f'Check of {name}'))
    print(f'written to {out}')
    return 1 if any(done.faults for done in checked) else 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
