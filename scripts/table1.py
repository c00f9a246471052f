"""Compute table 1 of the SAM-Deblur paper: four methods on four data sets, next to the published values.

Evaluates every option file options/test/<set>/<method>.yml with available data and weights, and marks the others as
missing. Existing results of these weights (results/<method>-<set>) are reused; --again repeats the evaluation.
"""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))

import argparse
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help needs no torch
    from basicsr.options import Options
    from basicsr.reporting import Report

logger = logging.getLogger('table1')


def parse() -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.options.loading import add_force

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--sets', nargs='+', metavar='SET', help='data sets: GoPro, RealBlurJ, REDS, ReLoBlur; default: all')
    add('--methods', nargs='+', metavar='METHOD', help='methods: NAFNet, CAT, MAP, SAMDeblur; default: all')
    add('--again', action='store_true', help='repeat evaluations with existing results')
    output_help = 'output file (default: results/table1.md)'
    add('--output', type=Path, default=Path('results/table1.md'), metavar='FILE', help=output_help)
    add_force(parser)
    return parser.parse_args()


def report_of(options: Options, again: bool) -> Report | str:
    """Return the report of one option file, evaluated or read; or the name of missing data or weights."""
    from basicsr.evaluation.testing import Evaluation
    from basicsr.preflight import check_paths
    from basicsr.reporting import read_reports
    from basicsr.training.distributed import Processes
    from basicsr.utils.device import select_device
    from basicsr.utils.errors import OptionError
    from basicsr.utils.files import sha256_of

    folder, weights = Path('results') / options.name, Path(options.path.pretrain_network_g or '')
    if not again and any(folder.glob('*.json')):
        report = read_reports(folder)[0]
        wanted, found = images_wanted(options), len(report.rows) + len(report.skipped)
        if weights.is_file() and sha256_of(weights) != report.facts.checkpoint_sha256:
            logger.info('%s: results are from other weights; repeating the evaluation', options.name)
        elif wanted not in (None, found):
            logger.info('%s: results have %d images, not %d; repeating the evaluation', options.name, found, wanted)
        else:
            return report
    try:
        check_paths(options)
    except OptionError as error:
        for problem in error.problems:
            logger.info('%s: %s', options.name, problem)
        return 'no data' if any('datasets.' in problem for problem in error.problems) else 'no weights'
    return Evaluation(options, Processes(device=select_device('auto'))).run()[0]


def images_wanted(options: Options) -> int | None:
    """Return the number of images that an option file evaluates; None if the data are missing."""
    from basicsr.data import build_dataset
    from basicsr.evaluation.scoring import images_of
    from basicsr.options.schema_data import phase_of
    from basicsr.utils.errors import BasicsrError

    key = next(key for key in options.datasets if phase_of(key) != 'train')
    try:
        return images_of(build_dataset(options.datasets[key], phase=phase_of(key)), options.val)
    except (BasicsrError, OSError):
        return None


def cells(report: Report | str, method: str, dataset: str) -> list[str]:
    """Return PSNR, SSIM and MCR of ours and of the paper with differences; or the missing part."""
    from basicsr.reporting import MCR
    from basicsr.reporting.published import published_scores

    published = published_scores(method, dataset)
    found = []
    for label, digits in (('psnr', 2), ('ssim', 3), (MCR, 2)):
        theirs = published.get(label)
        paper = '' if theirs is None else f'{theirs:.{digits}f}'
        if isinstance(report, str):
            found.append(f'{report} / {paper or "-"}')
            continue
        mean = report.average(label).mean
        ours = 'not scored' if mean is None else f'{mean:.{digits}f}'
        change = '' if mean is None or theirs is None else f' ({mean - theirs:+.{digits}f})'
        found.append(f'{ours} / {paper or "-"}{change}')
    return found


def main() -> int:
    """Evaluate, and print and write the table."""
    arguments = parse()
    logging.basicConfig(format='%(message)s', level=logging.INFO)
    from basicsr.options import load_options
    from basicsr.reporting import Table
    from basicsr.reporting.published import METHODS, SETS
    from basicsr.utils.errors import OptionError
    from basicsr.utils.files import write_whole

    for name, chosen, known in (('--sets', arguments.sets, SETS), ('--methods', arguments.methods, tuple(METHODS))):
        unknown = sorted(set(chosen or ()) - set(known))
        if unknown:
            raise OptionError(f'{name}: unknown {", ".join(unknown)}; known: {", ".join(known)}')
    rows = []
    for dataset in arguments.sets or SETS:
        for method in arguments.methods or METHODS:
            options = load_options(ROOT / 'options' / 'test' / dataset / f'{method}.yml', arguments.force_yml)
            report = report_of(options, arguments.again)
            images = '' if isinstance(report, str) else str(len(report.rows))
            rows.append((dataset, method, images, *cells(report, method, dataset)))
    head = ('set', 'method', 'images', 'PSNR ours / paper', '3-D SSIM ours / paper', 'MCR % ours / paper')
    table = Table(head, tuple(rows))
    print(table.text())
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.output, f'{table.markdown()}\n'.encode())
    print(f'\n{arguments.output}')
    return 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
