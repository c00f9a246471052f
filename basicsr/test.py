"""Evaluate a network on the data sets of an option file: python basicsr/test.py -opt options/test/REDS.yml

Writes results/<name>/: summary.md, a CSV and a JSON file for each data set, and gallery.html. The exit code is 1 if
an image could not be evaluated.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')


def main(arguments: list[str] | None = None) -> int:
    """Evaluate, and print the tables; return the exit code."""
    from basicsr.train import command_line, join_job

    parser = command_line(__doc__ or '')
    parser.add_argument('--output', type=Path, metavar='DIR', help='folder for the results; default: results/<name>')
    names = ('usm', 'rl', 'kernel')
    parser.add_argument(
        '--baselines',
        nargs='*',
        choices=names,
        metavar='NAME',
        help='add rows for an unsharp mask (usm), Richardson-Lucy (rl) and blur kernels (kernel); default: all three',
    )
    args = parser.parse_args(arguments)
    baselines = () if args.baselines is None else args.baselines or names
    from basicsr.evaluation.testing import Evaluation
    from basicsr.options import load_options
    from basicsr.preflight import build_on_paper, check_paths
    from basicsr.reporting import GALLERY, summary_table
    from basicsr.training.distributed import EXIT_PEER_FAILED, PeerError
    from basicsr.utils.profiling import profiled

    options = load_options(args.opt, args.force_yml, 'test')
    build_on_paper(options)
    check_paths(options)
    try:
        with join_job(options, args.launcher) as processes:
            evaluation = Evaluation(options, processes, args.output, baselines)
            traces = evaluation.folder / 'profile' if args.profile and processes.is_first else None
            with profiled(traces, processes.device, evaluation.images) as evaluation.image_is_done:
                reports = evaluation.run()
    except PeerError as error:
        print(error, file=sys.stderr)
        return EXIT_PEER_FAILED
    for report in reports:
        print(f'\n{report.dataset}\n{summary_table(report).text()}')
        for name, reason in report.skipped.items():
            print(f'skipped: {name}: {reason}')
    if reports:
        print(f'\n{evaluation.folder / "summary.md"}\n{evaluation.folder / GALLERY}')
    return 1 if any(report.skipped for report in reports) else 0


def command() -> int:
    """Run :func:`main` as a program; returns the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
