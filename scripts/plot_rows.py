"""Draw the PSNR of each row of evaluated runs in one chart (SVG), and print the mean of each third of the rows.

The runs must have been evaluated with val.psnr_per_row: true. Several folders of one name, separated by commas, are
drawn as their mean with a band (runs with different seeds).

Examples:
    python scripts/plot_rows.py RSS-T=results/RSST_tiny-GRR_synth-test NAFNet=results/NAFNet_tiny-GRR_synth-test
    python scripts/plot_rows.py RSS-T=results/seed0,results/seed1 --gain --output rows.svg
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

runpy.run_path(f'{Path(__file__).resolve().parents[1]}/basicsr/utils/clone.py')


def named_folders(text: str) -> tuple[str, list[Path]]:
    """Parse ``NAME=FOLDER,FOLDER``."""
    name, equals, folders = text.partition('=')
    if not name or not equals or not all(folders.split(',')):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FOLDER or NAME=FOLDER,FOLDER")
    return name, [Path(folder) for folder in folders.split(',')]


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('runs', nargs='+', type=named_folders, metavar='NAME=FOLDER', help='names in the chart, and result folders')
    add('--dataset', metavar='NAME', help='data set; default: the only one of each folder')
    add('--gain', action='store_true', help='draw the gain over the blurred input')
    add('--output', type=Path, default=Path('rows.svg'), metavar='FILE', help='the chart (default: rows.svg)')
    return parser.parse_args()


def main() -> int:
    """Draw the chart and print the table."""
    arguments = parse()
    from basicsr.reporting.row_curves import chart_of_curves, read_curve, table_of_thirds
    from basicsr.utils.files import write_whole

    runs, dataset = {}, ''
    for name, folders in arguments.runs:
        found = [read_curve(folder, arguments.dataset) for folder in folders]
        dataset = dataset or found[0][0]
        runs[name] = [curve for _, curve in found]
    chart = chart_of_curves(runs, arguments.dataset or dataset, arguments.gain)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.output, chart.encode())
    print(f'{table_of_thirds(runs).text()}\n{arguments.output}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
