"""Torture the package: python -m tests.torture [--full] [--seed N] [--only kills disks ranks inputs page]

Kills, full disks, lost processes, malformed files and hostile requests, at random; the seed is printed. Without
``--full``, the counts are those of CI. The exit code is 1 if anything did not survive. Everything happens on this
computer, in a temporary folder that is removed.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import disks, inputs, kills, page, ranks
from tests.torture.tally import Tally

PARTS: dict[str, tuple[Callable[[Path, int, random.Random], list[Tally]], int, int]] = {
    'kills': (lambda work, count, rng: kills.torture(work, count, -(-count // 5), rng), 5, 100),
    'disks': (disks.torture, 2, 20),
    'ranks': (ranks.torture, 1, 5),
    'inputs': (inputs.torture, 60, 500),
    'page': (page.torture, 30, 200),
}
"""What each part does, and how often in CI and with ``--full``."""


def run_part(name: str, work: Path, full: bool, seed: int) -> list[Tally]:
    """Torture one part of the package.

    Args:
        name: of ``PARTS``.
        work: an empty folder with a short path.
        full: with the counts of ``--full``.
        seed: of all random draws.
    """
    torture, few, many = PARTS[name]
    return torture(work, many if full else few, random.Random(f'{name} {seed}'))


def main() -> int:
    """Run the parts and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--full', action='store_true', help='many more trials, for about an hour of one core')
    parser.add_argument('--seed', type=int, default=None, help='repeat the draws of an earlier run')
    parser.add_argument('--only', nargs='+', choices=PARTS, default=list(PARTS), help='some of the parts')
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    print(f'python -m tests.torture{" --full" * arguments.full} --seed {seed}\n', flush=True)
    logging.basicConfig(level=logging.ERROR)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    failed = False
    for name in arguments.only:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix='t', ignore_cleanup_errors=True) as folder:
            for tally in run_part(name, Path(folder), arguments.full, seed):
                print(tally.text(), flush=True)
                failed = failed or bool(tally.failures)
        print(f'{name}: {time.monotonic() - began:.0f} seconds\n', flush=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
