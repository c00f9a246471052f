"""Compare evaluated runs with the first of them: intervals, tests, charts, tables for papers, and a gallery.

Examples:
    python scripts/compare_runs.py results/NAFNet results/SAMDeblur
    python scripts/compare_runs.py results/NAFNet results/CAT results/MAP results/SAMDeblur --scores psnr ssim
    python scripts/compare_runs.py results/NAFNet results/SAMDeblur --dataset REDS --output both.html
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('first', type=Path, help='result folder of the reference')
    add('others', nargs='+', type=Path, metavar='run', help='result folders of other runs, on the same data sets')
    add('--dataset', nargs='+', metavar='NAME', help='data sets to compare; default: all in every run')
    add('--scores', nargs='+', metavar='LABEL', help='scores to compare; default: all; fewer need a smaller correction')
    add(
        '--scenes',
        choices=['auto', 'name', 'image'],
        default='auto',
        help='what counts once: images whose names differ in their last number only (name), every image, or name if '
        'that gives at least five scenes (auto, default)',
    )
    add('--output', type=Path, metavar='FILE', help='path of the page, ends in .html; default: in the last folder')
    add('--confidence', type=float, default=0.95, metavar='P', help='confidence level (default: 0.95)')
    add('--method', choices=['bca', 'percentile'], default='bca', help='method for the intervals (default: bca)')
    add('--resamples', type=int, default=10_000, metavar='N', help='bootstrap resamples (default: 10000)')
    add('--seed', type=int, default=0, help='seed of bootstrap and test (default: 0)')
    return parser.parse_args()


def main() -> int:
    """Print the tables and write page, tables and charts."""
    arguments = parse()
    from basicsr.reporting import compare_runs, read_reports, write_runs_page, write_tables
    from basicsr.reporting.gallery import comparison_file
    from basicsr.reporting.several_tables import check_page, family_size, runs_notes, tables_of
    from basicsr.utils.errors import ReportError

    folders = [arguments.first, *arguments.others]
    target = arguments.output or comparison_file(folders[0], folders[-1])
    check_page(target)
    runs = [{report.dataset: report for report in read_reports(folder)} for folder in folders]
    names = arguments.dataset or [name for name in runs[0] if all(name in run for run in runs)]
    missing = [name for name in names if not all(name in run for run in runs)]
    if missing or not names:
        there = '; '.join(f'{folder} has {", ".join(run)}' for folder, run in zip(folders, runs, strict=True))
        raise ReportError(f'{", ".join(missing) or "no data set"}: not in all runs; {there}')
    how = {key: getattr(arguments, key) for key in ('scenes', 'confidence', 'method', 'resamples', 'seed')}
    comparisons = compare_runs([[run[name] for run in runs] for name in names], arguments.scores, **how)
    files = [*write_tables(target, comparisons), write_runs_page(target, folders, comparisons)]
    for comparison in comparisons:
        print('\n\n'.join([comparison.dataset, *(table.text() for table in tables_of(comparison))]))
        print('\n'.join(runs_notes(comparison, family_size(comparisons))) + '\n')
    print('\n'.join(map(str, files)))
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
