"""Report the results of the quick start: a table, the difference of both networks, and the paths of the galleries."""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse

FINDING = (
    'In a controlled experiment with small networks and many photos, true masks raised PSNR by 0.05 dB over masks of\n'
    'another photo (95 % interval 0.01 to 0.10); felzenszwalb masks, as used here, did not help: docs/prior.md'
)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('baseline', type=Path, help='result folder of the network without masks')
    parser.add_argument('ours', type=Path, help='result folder of the network with masks')
    return parser.parse_args()


def main() -> int:
    """Print the report."""
    arguments = parse()
    from basicsr.reporting import GALLERY, compare_runs, read_reports, write_runs_page
    from basicsr.reporting.gallery import comparison_file
    from basicsr.reporting.several_tables import interval
    from basicsr.reporting.tables import summaries, title_of, with_sign

    folders = arguments.baseline, arguments.ours
    baseline, ours = (read_reports(folder)[0] for folder in folders)
    (comparison,) = compare_runs([[baseline, ours]])
    print(summaries((baseline, ours), ('baseline', 'SAM-Deblur')).text())
    unit = 'scenes' if comparison.scenes else 'images'
    print(f'\nSAM-Deblur - baseline, with the 95 % interval of a paired bootstrap over the {unit}:')
    for change in comparison.changes:
        score, item, mean = change.definition, change.difference, change.estimate.mean
        print(
            f'  {title_of(score)}: {with_sign(mean, score, more=1)} ({interval(change.estimate, score)}), '
            f'{item.wins} of {item.count} images better, {item.losses} worse'
        )
    if not comparison.scenes:  # too few photos for an interval over them
        print('  Images cut from one photo are similar, so for photos in general the intervals are too narrow.')
    print(f'\n{FINDING}')
    page = write_runs_page(comparison_file(*folders), folders, [comparison])
    print('\nOpen in a browser:')
    for what, file in (
        ('both networks', page),
        ('baseline', arguments.baseline / GALLERY),
        ('SAM-Deblur', arguments.ours / GALLERY),
    ):
        print(f'  {what}: {file.resolve()}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
