"""Measure this project against plain implementations of the same formulas, in one process.

python -m benchmarks                          all items
python -m benchmarks --only MAP step          some of them
python -m benchmarks --quick                  few rounds and small cases, in at most five minutes

Prints a table, and writes benchmarks.md and benchmarks.json. To see an AVX2 processor's numbers on a larger one:
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 python -m benchmarks
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path

import torch

from basicsr.utils.device import select_device
from benchmarks.bench import HEAD, RULE, Bench, machine, write

ITEMS = {
    'MAP': 'map_unit',
    'networks': 'networks',
    'step': 'training_step',
    'optimizer': 'training_step',
    'data': 'data_path',
    'stores': 'data_path',
    'metrics': 'metrics',
    'SAM': 'sam',
    'photo': 'photo',
    'evaluation': 'evaluation',
    'kernel': 'kernel',
    'rows': 'row_exposure',
    'sizes': 'sizes',
    'checkpointing': 'checkpointing',
}
"""Items, and the module whose function ``run_<item>`` measures them."""


def main(arguments: list[str] | None = None) -> int:
    """Run the items; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', metavar='NAME', choices=ITEMS, help=f'items: {", ".join(ITEMS)}')
    parser.add_argument('--device', default='cpu', help='of networks (default: cpu)')
    parser.add_argument('--quick', action='store_true', help='few rounds and small cases')
    parser.add_argument('--output', type=Path, default=Path('results/benchmarks'), help='folder of the tables')
    args = parser.parse_args(arguments)
    bench, start = Bench(select_device(args.device), args.quick), time.perf_counter()
    about = machine(bench)
    print('\n'.join(f'{key}: {value}' for key, value in about.items()), flush=True)
    for name in args.only or ITEMS:
        bench.item = name
        print(f'\n**{name}**\n\n{HEAD}\n{RULE}', flush=True)
        module = importlib.import_module(f'benchmarks.{ITEMS[name]}')
        threads = torch.get_num_threads()
        getattr(module, f'run_{name.lower()}')(bench)
        torch.set_num_threads(threads)  # some items use one thread
    page = write(bench, about, args.output)
    print(f'\n{len(bench.rows)} rows in {time.perf_counter() - start:.0f} s; written: {page.resolve()}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
