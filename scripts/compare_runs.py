"""Compare two evaluated runs image by image: differences with confidence intervals, and a gallery of both.

Examples:
    python scripts/compare_runs.py results/NAFNet results/SAMDeblur
    python scripts/compare_runs.py results/NAFNet results/SAMDeblur --dataset REDS --output both.html
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('first', type=Path, help='result folder of the first run')
    add('second', type=Path, help='result folder of the second run, on the same data sets')
    add('--dataset', nargs='+', metavar='NAME', help='data sets to compare; default: all in both runs')
    add('--output', type=Path, metavar='FILE', help='path of the page; default: in the second folder')
    add('--confidence', type=float, default=0.95, metavar='P', help='confidence level (default: 0.95)')
    add('--method', choices=['bca', 'percentile'], default='bca', help='method for the intervals (default: bca)')
    add('--resamples', type=int, default=10_000, metavar='N', help='bootstrap resamples (default: 10000)')
    add('--seed', type=int, default=0, help='seed of the bootstrap (default: 0)')
    return parser.parse_args()


def main() -> int:
    """Print the tables and write the gallery."""
    arguments = parse()
    from basicsr.reporting import compare, comparison_notes, comparison_table, read_reports, write_comparison
    from basicsr.reporting.gallery import comparison_file
    from basicsr.utils.errors import ReportError

    first, second = (
        {report.dataset: report for report in read_reports(f)} for f in (arguments.first, arguments.second)
    )
    names = arguments.dataset or [name for name in first if name in second]
    missing = [name for name in names if name not in first or name not in second]
    if missing or not names:
        raise ReportError(
            f'{", ".join(missing) or "no data set"}: not in both runs; {arguments.first} has {", ".join(first)}; '
            f'{arguments.second} has {", ".join(second)}'
        )
    how = {key: getattr(arguments, key) for key in ('confidence', 'method', 'resamples', 'seed')}
    comparisons = [compare(first[name], second[name], **how) for name in names]
    for comparison in comparisons:
        print(f'{comparison.first.dataset}\n{comparison_table(comparison).text()}')
        print('\n'.join(comparison_notes(comparison)) + '\n')
    target = arguments.output or comparison_file(arguments.first, arguments.second)
    print(f'gallery: {write_comparison(target, arguments.first, arguments.second, comparisons)}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run

    sys.exit(run(main))
