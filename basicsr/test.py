"""Evaluate a network on the data sets of an option file: python basicsr/test.py -opt options/test/REDS.yml

Writes results/<name>/: summary.md, a CSV and a JSON file for each data set, and gallery.html. Exit code 1 if an image
could not be evaluated.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parent}/utils/clone.py')

import argparse
import logging


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from basicsr.options import add_arguments
    from basicsr.utils.installation import with_commands

    parser = argparse.ArgumentParser(
        description=with_commands(__doc__ or ''), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm'),
        default='none',
        help='what started the processes: pytorch is torchrun, slurm is srun',
    )
    parser.add_argument('--output', type=Path, metavar='DIR', help='where results go; results/<name> by default')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)  # old launchers pass it
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Evaluate, and print the tables."""
    args = parse(arguments)
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.evaluation.testing import Evaluation
    from basicsr.options import load_options
    from basicsr.preflight import build_on_paper, check_paths
    from basicsr.reporting import GALLERY, summary_table
    from basicsr.training.distributed import EXIT_PEER_FAILED, PeerError, start_processes

    options = load_options(args.opt, args.force_yml, 'test')
    build_on_paper(options)
    check_paths(options)
    device = 'cpu' if options.num_gpu == 0 else 'auto'
    processes = start_processes(args.launcher, device, options.dist_params.port, options.dist_params.backend)
    try:
        with processes:
            evaluation = Evaluation(options, processes, args.output)
            reports = evaluation.run()
    except PeerError as error:
        print(error, file=sys.stderr)
        return EXIT_PEER_FAILED
    for report in reports:
        print(f'\n{report.dataset}\n{summary_table(report).text()}')
        for name, reason in report.skipped.items():
            print(f'left out: {name}: {reason}')
    if reports:
        print(f'\n{evaluation.folder / "summary.md"}\n{evaluation.folder / GALLERY}')
    return 1 if any(report.skipped for report in reports) else 0


def command() -> int:
    """Run :func:`main` as a program; returns the exit code."""
    from basicsr.utils.console import run

    return run(main)


if __name__ == '__main__':
    sys.exit(command())
