"""Report the results of the quick start: a table, the difference of both networks, and the paths of the galleries."""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')

import argparse


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('baseline', type=Path, help='result folder of the network without masks')
    parser.add_argument('ours', type=Path, help='result folder of the network with masks')
    return parser.parse_args()


def main() -> int:
    """Print the report."""
    arguments = parse()
    from basicsr.reporting import GALLERY, compare, read_reports, write_comparison
    from basicsr.reporting.gallery import comparison_file
    from basicsr.reporting.tables import interval, summaries, title_of, with_sign

    baseline, ours = (read_reports(folder)[0] for folder in (arguments.baseline, arguments.ours))
    comparison = compare(baseline, ours)
    print(summaries((baseline, ours), ('baseline', 'SAM-Deblur')).text())
    definitions = {definition.label: definition for definition in baseline.definitions}
    print('\nSAM-Deblur - baseline, with the 95 % interval of a paired bootstrap over the images:')
    for item in comparison.differences:
        definition = definitions[item.label]
        print(
            f'  {title_of(definition)}: {with_sign(item.mean, definition, more=1)} ({interval(item, definition)}), '
            f'{item.wins} of {item.count} images better, {item.losses} worse'
        )
    print('  Images cut from one photo are similar, so for photos in general the intervals are too narrow.')
    page = comparison_file(arguments.baseline, arguments.ours)
    write_comparison(page, arguments.baseline, arguments.ours, [comparison])
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
