"""Started by torchrun: the time of exchanging gradients among the GPUs of this machine, in ``all_reduce.json``."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

MIB = 64
ROUNDS = 20


def main() -> int:
    """Sum a tensor over the processes; the first one writes seconds and bytes per second. Return the exit code."""
    import torch
    import torch.distributed as dist

    rank = int(os.environ['LOCAL_RANK'])
    on_gpus = '--cpu' not in sys.argv
    device = torch.device('cuda', rank) if on_gpus else torch.device('cpu')
    dist.init_process_group('nccl' if on_gpus else 'gloo')
    values = torch.ones((MIB if on_gpus else 1) * 2**18, device=device)
    seconds = []
    for _ in range(ROUNDS + 2):
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(values)
        if on_gpus:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    world = dist.get_world_size()
    if rank == 0:
        took = statistics.median(seconds[2:])
        moved = 2 * (world - 1) / world * values.nbytes  # by each process, in a ring
        Path('all_reduce.json').write_text(json.dumps({'processes': world, 'seconds': took, 'rate': moved / took}))
    dist.destroy_process_group()
    return 0


if __name__ == '__main__':
    sys.exit(main())
