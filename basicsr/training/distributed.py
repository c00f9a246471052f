"""One or several processes: start, and communication."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from basicsr.training.launching import (
    Launcher,
    identity_of,
    own_gpu,
    place_in_job,
    refuse_shared_gpus,
    require_reachable_host,
)
from basicsr.training.watch import EXIT_PEER_FAILED, PeerError, Watch, agree_on_start, own_connection
from basicsr.utils.device import select_device
from basicsr.utils.errors import OptionError

__all__ = ['EXIT_PEER_FAILED', 'PeerError', 'Processes', 'start_processes']

_TIMEOUT = timedelta(minutes=30)  # of one message; failed processes are detected much earlier
_TIMEOUT_OF_GPUS = timedelta(minutes=10)  # of one gradient exchange, for which all are ready within seconds


@dataclass(frozen=True)
class Processes:
    """This process among those of the job; all processes must call the same methods.

    Args:
        rank: of this process, 0 to world - 1.
        world: number of processes.
        device: of this process.
        watch: detects failures of other processes; None for a single process.
        gradients: process group for gradients; None is the default group.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device('cpu'))
    watch: Watch | None = None
    gradients: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave the job. With several processes, an error ends this one here and the others within seconds."""
        if self.watch is None:
            return
        if error is not None:
            self.watch.fail(error)
        self.wait()  # otherwise, exits would look like failures
        self.watch.stop()
        dist.destroy_process_group()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return for each flag whether any process has it set."""
        if self.world == 1:
            return flags
        values = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(bool(value) for value in values)

    def any_on_device(self, flags: torch.Tensor) -> torch.Tensor:
        """Return for each flag, boolean on the device of this process, whether any process has it set.

        On a GPU, the host does not wait: the exchange follows that of the gradients.
        """
        if self.world == 1:
            return flags
        values = flags.float()
        dist.all_reduce(values, dist.ReduceOp.MAX, self.gradients)
        return values > 0

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return means over all processes; names and their order must agree."""
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        if self.world > 1:
            dist.all_reduce(total)
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return the CPU tensors of all processes by rank; shapes and dtypes must agree."""
        if self.world == 1:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(tensors, tensor)
        return tensors

    def gather_text(self, text: str) -> list[str]:
        """Return the texts of all processes by rank."""
        data = torch.frombuffer(bytearray(text.encode() or b'\0'), dtype=torch.uint8)
        longest = max(int(size) for size in self.gather(torch.tensor([len(data)])))
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(data)] = data
        return [bytes(item.tolist()).rstrip(b'\0').decode() for item in self.gather(padded)]

    def from_rank(self, rank: int, image: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        """Return the image (H, W, C) of process ``rank``, or None if it has none; images of others are ignored."""
        if self.world == 1:
            return image
        mine = image if self.rank == rank and image is not None else np.empty((0, 0, 0), np.uint8)
        size = torch.tensor(mine.shape)
        dist.broadcast(size, rank)
        empty = torch.empty(size.tolist(), dtype=torch.uint8)
        data = torch.from_numpy(np.array(mine, order='C')) if self.rank == rank else empty
        if not data.numel():
            return None
        dist.broadcast(data, rank)
        return data.numpy()

    def from_first(self, number: int) -> int:
        """Return the number of the first process."""
        if self.world == 1:
            return number
        value = torch.tensor([number])
        dist.broadcast(value, 0)
        return int(value)

    def wait(self) -> None:
        """Wait until all processes call this method."""
        self.any(False)

    def first_does(self, work: Callable[[], Any]) -> None:
        """Run a function in the first process while the others wait; an error ends all.

        Raises:
            PeerError: in the other processes, if the first one fails.
        """
        error: Exception | None = None
        if self.is_first:
            try:
                work()
            except Exception as problem:  # noqa: BLE001 - raised again below, after notifying the others
                error = problem
        (failed,) = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise PeerError('rank 0 failed; see its error above')


class LateAny:
    """Ask in every step whether any process has a flag set, without waiting for the others where GPUs work.

    Args:
        processes: this process among those of the job; all must ask equally often.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._asked: tuple[Any, torch.Tensor] | None = None

    def __call__(self, flag: bool) -> bool:
        """Return whether any process has its flag set; on GPUs, whether any had it set in the call before."""
        if self._processes.world == 1 or self._processes.device.type == 'cpu':
            return self._processes.any(flag)[0]
        answer = self.finish()
        values = torch.tensor([flag], dtype=torch.int32)
        self._asked = dist.all_reduce(values, dist.ReduceOp.MAX, async_op=True), values
        return answer

    def finish(self) -> bool:
        """Wait for the answer to the last question; False without one."""
        if self._asked is None:
            return False
        work, values = self._asked
        self._asked = None
        work.wait()
        return bool(values[0])


def start_processes(
    launcher: Launcher, device: str = 'auto', port: int | None = None, backend: Literal['nccl', 'gloo'] = 'nccl'
) -> Processes:
    """Join the job that a launcher started.

    Args:
        launcher: 'none' for a single process; 'pytorch' with torchrun; 'slurm' with srun.
        device: ``auto`` uses one GPU per process if available; ``cpu`` uses no GPU.
        port: of the first node, for Slurm; None derives it from the job id.
        backend: distributed backend for GPUs; CPUs use gloo.

    Raises:
        OptionError: the launcher's environment variables are missing, there are fewer GPUs than processes, or other
            hosts cannot reach this one.
    """
    if launcher == 'none':
        if int(os.environ.get('WORLD_SIZE', '1')) > 1 and 'RANK' in os.environ:
            raise OptionError('torchrun started several processes: add --launcher pytorch')
        return Processes(device=select_device(device))
    rank, world, local = place_in_job(launcher, port)
    require_reachable_host(os.environ)
    chosen = select_device(device)
    if chosen.type == 'cuda':
        chosen = own_gpu(local)
        torch.cuda.set_device(chosen)
    with_nccl = chosen.type == 'cuda' and backend == 'nccl'
    # gloo in addition to NCCL: short messages do not wait for GPU kernels
    backends = 'cpu:gloo,cuda:nccl' if with_nccl else 'gloo'
    shared, rank, world = next(rendezvous('env://', rank, world, timeout=_TIMEOUT))
    shared.set_timeout(_TIMEOUT)
    start = agree_on_start(shared, rank, world, _TIMEOUT)
    messages = PrefixStore(f'{start}/messages', shared)
    dist.init_process_group(backends, store=messages, rank=rank, world_size=world, timeout=_TIMEOUT)
    watch = Watch(PrefixStore(f'{start}/watch', own_connection(shared, _TIMEOUT)), rank, world)
    gradients: Any = None
    if with_nccl:
        gradients = dist.new_group(backend='nccl', timeout=_TIMEOUT_OF_GPUS)
    processes = Processes(rank, world, chosen, watch, gradients)
    if with_nccl:
        refuse_shared_gpus(processes.gather_text(identity_of(chosen)))
    return processes
