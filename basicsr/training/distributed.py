"""One process or many: how they find each other, what they tell each other, and what happens when one fails."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from basicsr.utils.device import select_device
from basicsr.utils.errors import BasicsrError, OptionError, TrainingError

logger = logging.getLogger(__name__)

Launcher = Literal['none', 'pytorch', 'slurm']
EXIT_PEER_FAILED = 4
SILENT_AFTER = 15  # heartbeats; a process that has sent none for so long is gone
_BEAT = 1.0  # seconds
_TIMEOUT = timedelta(minutes=30)  # of one message; processes that die are noticed long before


class PeerError(TrainingError):
    """Another process of the job has failed."""


@dataclass(frozen=True)
class Processes:
    """This process among those of the job; every method is called by all of them.

    Args:
        rank: number of this process, 0 to world - 1.
        world: number of processes.
        device: where this process computes.
        watch: notices when another process fails; None for a single process.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device('cpu'))
    watch: Watch | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the job. Where there are others, an error ends this process here, and theirs within seconds."""
        if self.watch is None:
            return
        if error is not None:
            self.watch.fail(error)
        self.wait()  # nobody takes the others' silence for a failure
        self.watch.stop()
        dist.destroy_process_group()

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag whether one process or more have it set."""
        if self.world == 1:
            return flags
        values = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(bool(value) for value in values)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Means over all processes; all give the same names in the same order."""
        total = torch.tensor(list(values.values()), dtype=torch.float64)
        if self.world > 1:
            dist.all_reduce(total)
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The CPU tensor of every process, by rank; all have one shape and type."""
        if self.world == 1:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(tensors, tensor)
        return tensors

    def gather_text(self, text: str) -> list[str]:
        """The text of every process, by rank."""
        data = torch.frombuffer(bytearray(text.encode() or b'\0'), dtype=torch.uint8)
        longest = max(int(size) for size in self.gather(torch.tensor([len(data)])))
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(data)] = data
        return [bytes(item.tolist()).rstrip(b'\0').decode() for item in self.gather(padded)]

    def from_rank(self, rank: int, image: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
        """The image (H, W, C) that the process ``rank`` has; None if it has none. The others' are left alone."""
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
        """The number that the first process has."""
        if self.world == 1:
            return number
        value = torch.tensor([number])
        dist.broadcast(value, 0)
        return int(value)

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.any(False)

    def first_does(self, work: Callable[[], Any]) -> None:
        """Let the first process work while the others wait; its error is theirs as well.

        Raises:
            PeerError: in the other processes, if the first one fails.
        """
        error: Exception | None = None
        if self.is_first:
            try:
                work()
            except Exception as problem:  # noqa: BLE001 - raised again below, once the others know
                error = problem
        (failed,) = self.any(error is not None)
        if error is not None:
            raise error
        if failed:
            raise PeerError('the first process has failed')


def start_processes(
    launcher: Launcher, device: str = 'auto', port: int = 29500, backend: Literal['nccl', 'gloo'] = 'nccl'
) -> Processes:
    """Join the job that a launcher has started.

    Args:
        launcher: 'none' for a single process; 'pytorch' under torchrun; 'slurm' under srun.
        device: ``auto``, or ``cpu`` to keep away from GPUs. Each process takes the GPU of its local rank.
        port: of the first node, for Slurm (torchrun brings its own).
        backend: how GPUs exchange gradients; CPUs use gloo.

    Raises:
        OptionError: the launcher's environment variables are missing, or there are fewer GPUs than processes.
    """
    if launcher == 'none':
        if int(os.environ.get('WORLD_SIZE', '1')) > 1 and 'RANK' in os.environ:
            raise OptionError('torchrun started several processes: add --launcher pytorch, or each trains on its own')
        return Processes(device=select_device(device))
    if launcher == 'slurm':
        _environment_of_slurm(port)
    rank, world, local = (_number(name, launcher) for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'))
    chosen = select_device(device)
    if chosen.type == 'cuda':
        chosen = select_device(f'cuda:{local}')
        torch.cuda.set_device(chosen)
    # gloo beside NCCL: short messages between hosts wait for no kernel
    backends = 'cpu:gloo,cuda:nccl' if chosen.type == 'cuda' and backend == 'nccl' else 'gloo'
    store, rank, world = next(rendezvous('env://', rank, world, timeout=_TIMEOUT))
    store = PrefixStore(f'start {os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}', store)  # torchrun keeps the store
    store.set_timeout(_TIMEOUT)
    dist.init_process_group(
        backends, store=PrefixStore('messages', store), rank=rank, world_size=world, timeout=_TIMEOUT
    )
    return Processes(rank, world, chosen, Watch(PrefixStore('watch', store), rank, world))


class Watch:
    """Ends this process when another one has failed, whatever this one is waiting for.

    A thread tells the others once a second that this process lives, and looks whether they do.

    Args:
        store: shared by all processes.
        rank: number of this process.
        world: number of processes.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        clone = getattr(store, 'clone', None)
        self._store = clone() if clone else store  # a connection of its own, which no other request holds up
        self._rank, self._world = rank, world
        self._stopped = threading.Event()
        self._heard: dict[int, tuple[int, int]] = {}
        self._reason: str | None = None
        self._thread = threading.Thread(target=self._run, name='watch', daemon=True)
        self._thread.start()

    def fail(self, error: BaseException) -> None:
        """Say what is wrong, tell the others, and end this process; never returns.

        An orderly end could take for ever: destructors wait for messages of processes that are no more.

        Args:
            error: what this process failed with. A message that could not be exchanged is the fault of another one.
        """
        self._stopped.set()
        code, lost = 1, isinstance(error, RuntimeError) and not isinstance(error, BasicsrError)
        reason = self.failure(patience=2.0) if lost or isinstance(error, PeerError) else None
        if reason is None and lost and 'gloo' in str(error):
            reason = f'it is gone without a word, killed? ({str(error).splitlines()[0]})'
        if reason is not None:
            code, text = EXIT_PEER_FAILED, f'stops, since another process failed: {reason}'
        elif isinstance(error, BasicsrError):
            text = str(error)
        else:
            code = 130 if isinstance(error, KeyboardInterrupt) else 1
            text = ''.join(traceback.format_exception(error))
        if code == 1:
            self._tell(f'rank {self._rank}: {type(error).__name__}: {error}')
        self._end(code, text)

    def _tell(self, message: str) -> None:
        try:
            if not self._store.check(['failed']):
                self._store.set('failed', message)
            others = [f'heard/{rank}' for rank in range(self._world) if rank != self._rank]
            end = time.monotonic() + 5 * _BEAT  # the first process may keep the store: it stays until all have heard
            while self._rank == 0 and time.monotonic() < end and not self._store.check(others):
                time.sleep(0.1)
        except RuntimeError as problem:
            logger.debug('the other processes cannot be told: %s', problem)

    def _end(self, code: int, text: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f'rank {self._rank}: {text}\n')
        sys.stderr.flush()
        os._exit(code)

    def failure(self, patience: float = 0.0) -> str | None:
        """What another process reported, waiting for it up to ``patience`` seconds."""
        end = time.monotonic() + patience
        while self._reason is None:
            try:
                if self._store.check(['failed']):
                    self._reason = str(self._store.get('failed'), 'utf-8')
                    self._store.set(f'heard/{self._rank}', '1')
                    break
            except RuntimeError:
                return 'the process that keeps the others together is gone'
            if time.monotonic() >= end:
                return None
            time.sleep(0.1)
        return self._reason

    def stop(self) -> None:
        """This process is done."""
        self._stopped.set()
        self._thread.join()
        try:
            self._store.set(f'done/{self._rank}', '1')
        except RuntimeError as error:
            logger.debug('the other processes cannot be told: %s', error)

    def _run(self) -> None:
        beat = 0
        while not self._stopped.wait(_BEAT):
            beat += 1
            try:
                self._store.set(f'alive/{self._rank}', str(beat))
                reason = self.failure() or self._silent(beat)
            except RuntimeError:
                reason = 'the process that keeps the others together is gone'
            if reason and not self._stopped.wait(3 * _BEAT):  # time for an orderly end
                self._end(EXIT_PEER_FAILED, f'stops, since another process failed: {reason}')

    def _silent(self, beat: int) -> str | None:
        """Names a process that has not been heard of for many beats of our own (a machine may have slept)."""
        for rank in range(self._world):
            if rank == self._rank or not self._store.check([f'alive/{rank}']):
                continue
            theirs = int(self._store.get(f'alive/{rank}'))
            known, since = self._heard.get(rank, (-1, beat))
            if theirs != known:
                self._heard[rank] = (theirs, beat)
            elif beat - since > SILENT_AFTER and not self._store.check([f'done/{rank}']):
                return f'rank {rank} has been silent for {beat - since} seconds (killed?)'
        return None


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list, such as ``gpu[03-05,9],login``.

    >>> first_host('gpu[03-05,9],login'), first_host('alpha,beta')
    ('gpu03', 'alpha')
    """
    match = re.match(r'([^\[,]*)(?:\[(\w+)[^\]]*\]([^,]*))?', nodes)
    return ''.join(part or '' for part in match.groups()) if match else nodes


def _environment_of_slurm(port: int) -> None:
    """Say in torchrun's variables what Slurm says in its own."""
    rank, world, local = (_number(f'SLURM_{name}', 'slurm') for name in ('PROCID', 'NTASKS', 'LOCALID'))
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(local))
    nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ.get('SLURM_NODELIST', '')
    if not nodes:
        raise OptionError('--launcher slurm: SLURM_NODELIST is not set; start the command with srun')
    host = first_host(nodes)
    try:
        listed = subprocess.run(  # noqa: S603 - fixed arguments
            ['scontrol', 'show', 'hostnames', nodes],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
        )
        host = listed.stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        logger.debug('scontrol is not here; %s is taken as the first host', host)
    os.environ.setdefault('MASTER_ADDR', host)
    os.environ.setdefault('MASTER_PORT', str(port))


def _number(name: str, launcher: str) -> int:
    value = os.environ.get(name, '')
    if not value.isdigit():
        start = 'torchrun' if launcher == 'pytorch' else 'srun'
        raise OptionError(f'--launcher {launcher}: the variable {name} is not set; start the command with {start}')
    return int(value)
