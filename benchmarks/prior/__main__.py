"""The controlled experiment on the mask prior: ten arms, three seeds, equal budgets (docs/prior.md).

python -m benchmarks.prior prepare --training DIR --real DIR   data, once (minutes)
python -m benchmarks.prior sheet                               samples with their masks, to look at
python -m benchmarks.prior list                                runs, and which are finished
python -m benchmarks.prior run                                 all that are not, one after the other
python -m benchmarks.prior run --arm 4 7 --seed 0              some of them
python -m benchmarks.prior time                                seconds of a step of each arm
python -m benchmarks.prior collect                             the table and the figure of docs/prior.md

A finished run is one JSON file in the folder of results, and is never repeated. A training that was killed continues
from its checkpoint. Trainings use one thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from basicsr.utils.console import run as run_and_report
from benchmarks.prior.arms import ARMS, STEPS, Run, all_runs

RESULTS = Path(__file__).resolve().parents[1] / 'results' / 'prior'
TRAINING_SAMPLES = 8000


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.prior', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('command', choices=('prepare', 'sheet', 'list', 'run', 'time', 'collect'))
    add(
        '--work', type=Path, default=Path('results/prior'), help='folder of data and trainings (default: results/prior)'
    )
    add('--results', type=Path, default=RESULTS, help='folder of the results (default: benchmarks/results/prior)')
    add('--training', type=Path, help='prepare: folder with index.csv, sharp/ and davis/')
    add(
        '--real', type=Path, help='prepare: folder with pairs.csv and kohler.csv; without it, real pairs are not tested'
    )
    add('--count', type=int, default=TRAINING_SAMPLES, help=f'prepare: training samples (default: {TRAINING_SAMPLES})')
    add('--arm', type=int, nargs='+', choices=sorted(ARMS), help='run, list: numbers of arms')
    add('--seed', type=int, nargs='+', help='run, list: seeds')
    add('--length', choices=tuple(STEPS), help='run, list: length of the training')
    add('--steps', type=int, help='run: other number of steps, for trials')
    add('--output', type=Path, help='sheet: image file; collect: page (default: docs/prior.md)')
    return parser.parse_args(arguments)


def chosen(arguments: argparse.Namespace) -> list[Run]:
    """Return the runs that the command line names, in order."""
    return [
        run
        for run in all_runs()
        if (arguments.arm is None or run.arm.number in arguments.arm)
        and (arguments.seed is None or run.seed in arguments.seed)
        and (arguments.length is None or run.length == arguments.length)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    args = parse(arguments)
    logging.basicConfig(format='%(asctime)s %(levelname)s: %(message)s', datefmt='%m-%d %H:%M:%S')
    import torch

    from basicsr.utils.errors import OptionError

    torch.set_num_threads(1)
    if args.command == 'prepare':
        from benchmarks.prior.preparing import prepare

        if args.training is None:
            raise OptionError('prepare needs --training, the folder with index.csv')
        prepare(args.work / 'data', args.training, args.real, args.count)
    elif args.command == 'sheet':
        from benchmarks.prior.sheet import write_sheet

        print(write_sheet(args.work / 'data', args.output or args.work / 'samples.png'))
    elif args.command == 'list':
        from benchmarks.prior.running import result_file

        for run in chosen(args):
            done = result_file(args.results, run).is_file()
            print(f'{"finished" if done else "missing ":8} {run.name}  {run.arm.title}')
    elif args.command == 'run':
        from benchmarks.prior.running import complete, write_blurred

        write_blurred(args.work, args.results)
        for run in chosen(args):
            print(complete(run, args.work, args.results, args.steps or STEPS[run.length]), flush=True)
    elif args.command == 'time':
        from benchmarks.prior.running import SECONDS, seconds_per_step

        seconds = seconds_per_step(list(ARMS.values()), args.work)
        for number, each in seconds.items():
            print(f'arm {number:2}: {1000 * each:.1f} ms a step  {ARMS[number].title}')
        args.results.mkdir(parents=True, exist_ok=True)
        (args.results / SECONDS).write_text(json.dumps({n: round(s, 4) for n, s in seconds.items()}) + '\n')
    else:
        from benchmarks.prior.page import write_page

        print(write_page(args.results, args.output))
    return 0


if __name__ == '__main__':
    sys.exit(run_and_report(main))
