"""Check that training and deblurring work on a GPU as on a CPU: numbers, resuming, several processes, speed.

  python scripts/check_gpu.py                     all checks, at most ten minutes
  python scripts/check_gpu.py --only 2 3 13       some of them
  python scripts/check_gpu.py --device cpu        try the checks themselves, on tiny sizes

Prints a line per check, and writes check_gpu.json and check_gpu.md. The exit code is 1 if a check fails, or did not
start within --minutes.
"""

from __future__ import annotations

import argparse
import runpy
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / 'basicsr' / 'utils' / 'clone.py'))


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return 1 if one fails, or has no time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda', help='cuda (default), cuda:1 or cpu; cpu uses tiny sizes')
    parser.add_argument('--only', nargs='+', type=int, metavar='N', help='numbers of checks')
    parser.add_argument('--minutes', type=float, default=10, metavar='N', help='no check starts after N minutes: 10')
    parser.add_argument('--output', type=Path, default=Path('results/check_gpu'), help='folder of the report')
    args = parser.parse_args(arguments)
    import logging

    from basicsr.utils.device import select_device, tf32
    from basicsr.utils.errors import OptionError
    from benchmarks.checks import accuracy, jobs, machine, restoring, running, steps  # noqa: F401 - they register

    logging.getLogger('basicsr').setLevel(logging.ERROR)  # some checks provoke warnings
    device = select_device(args.device)
    unknown = set(args.only or ()) - set(running.CHECKS)
    if unknown:
        raise OptionError(f'--only: unknown checks {sorted(unknown)}; known: {sorted(running.CHECKS)}')
    start, outcomes = time.perf_counter(), []
    about = machine.facts(device)
    print(', '.join(f'{key}: {value}' for key, value in about.items()), flush=True)
    with tempfile.TemporaryDirectory() as folder, tf32(False):
        end = time.monotonic() + 60 * args.minutes
        setting = running.Setting(device, device.type == 'cpu', Path(folder), end)
        for number in sorted(args.only or running.CHECKS):
            outcomes.append(running.run_check(number, setting))
            print(running.line(outcomes[-1]), flush=True)
    _, page = running.write_reports(args.output, about, outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == 'FAILED']
    late = [outcome for outcome in outcomes if outcome.status == 'no time']
    verdict = f'{len(failed)} of {len(outcomes)} checks failed' if failed else f'{len(outcomes)} checks passed'
    if late:
        verdict = f'{len(failed)} checks failed, {len(late)} of {len(outcomes)} had no time'
    print(f'{verdict} in {time.perf_counter() - start:.0f} s; report: {page.resolve()}')
    return 1 if failed or late else 0


if __name__ == '__main__':
    from basicsr.utils.console import run_and_exit

    run_and_exit(main)
