"""Detect failures of other processes of a job, even while this one waits."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import time
import traceback
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from basicsr.utils.errors import BasicsrError, TrainingError

logger = logging.getLogger(__name__)

EXIT_PEER_FAILED = 4
SILENT_AFTER = 15  # heartbeats without a sign of life until a process is considered dead
DEAF_AFTER = 60  # heartbeats without an answer until the host of the store is considered down
NEIGHBOURS = 4  # processes checked by each process; all would be world² requests per second
_BEAT = 1.0  # seconds
_GONE = 'the process with the shared store is not reachable'


class PeerError(TrainingError):
    """Another process of the job failed."""


def own_connection(store: Store, timeout: timedelta) -> Store:
    """Return the shared store with a separate connection, which other requests do not block.

    Args:
        store: of a rendezvous by environment variables.
        timeout: of the connection.
    """
    clone = getattr(store, 'clone', None)
    if clone is not None:  # since torch 2.8
        return clone()  # type: ignore[no-any-return]
    host, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    return dist.TCPStore(  # type: ignore[attr-defined]
        host, port, is_master=False, timeout=timeout, wait_for_workers=False
    )


def agree_on_start(store: Store, rank: int, world: int, timeout: timedelta) -> str:
    """Return a random text for this start of the job, equal in all processes.

    When torchrun restarts processes, the store still contains the entries of the previous ones. So each process draws a
    text, too, and accepts only answers to it.

    Args:
        store: shared by all processes.
        rank: of this process.
        world: number of processes.
        timeout: maximum time to wait for other processes.

    Raises:
        TrainingError: some processes did not answer in time.
    """
    own, end = secrets.token_hex(8), time.monotonic() + timeout.total_seconds()
    waiting, answered = set(range(1, world)) if rank == 0 else {0}, dict[int, str]()
    if rank:
        store.set(f'hello/{rank}', own)
    while waiting:
        if rank:
            if store.check([f'answer/{rank}']):
                to, drawn = str(store.get(f'answer/{rank}'), 'utf-8').split()
                if to == own:
                    store.set(f'ready/{drawn}/{rank}', '1')
                    return drawn
        else:
            waiting = {other for other in waiting if not store.check([f'ready/{own}/{other}'])}
            for other in (other for other in waiting if store.check([f'hello/{other}'])):
                hello = str(store.get(f'hello/{other}'), 'utf-8')
                if answered.get(other) != hello:
                    store.set(f'answer/{other}', f'{hello} {own}')
                    answered[other] = hello
        if waiting and time.monotonic() > end:
            names = ', '.join(map(str, sorted(waiting)))
            raise TrainingError(f'rank {rank}: no answer from rank {names} within {timeout}; did all processes start?')
        time.sleep(0.05 if waiting else 0)
    return own


class Watch:
    """A monitor that ends this process after another one failed.

    One thread writes a heartbeat every second, checks those of the next few processes, and reports missing ones to all.
    A second thread checks that the first one gets answers from the store.

    Args:
        store: shared by all processes, with a separate connection (see :func:`own_connection`).
        rank: of this process.
        world: number of processes.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self._store = store
        self._rank, self._world = rank, world
        self._looked_after = [(rank + step) % world for step in range(1, min(NEIGHBOURS, world - 1) + 1)]
        self._stopped, self._left = threading.Event(), threading.Event()
        self._heard: dict[int, tuple[int, int]] = {}
        self._reason: str | None = None
        self._beats = 0
        store.set(f'alive/{rank}', '0')  # a process may freeze before its first heartbeat
        self._threads = [threading.Thread(target=work, name='watch', daemon=True) for work in (self._run, self._listen)]
        for thread in self._threads:
            thread.start()

    def fail(self, error: BaseException) -> None:
        """Report an error to the other processes and end this one; never returns.

        The process exits at once, since destructors would wait for messages of dead processes.

        Args:
            error: of this process; failed communication is attributed to another process.
        """
        self._stopped.set()
        code, lost = 1, isinstance(error, RuntimeError) and not isinstance(error, BasicsrError)
        reason = self.failure(patience=2.0) if lost or isinstance(error, PeerError) else None
        if reason is None and lost and 'gloo' in str(error):
            reason = f'it exited without reporting an error (killed?) ({str(error).splitlines()[0]})'
        if reason is not None:
            code, text = EXIT_PEER_FAILED, f'stops because another process failed: {reason}'
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
            end = time.monotonic() + 5 * _BEAT  # the first process may host the store: it waits for readers
            while self._rank == 0 and time.monotonic() < end and not self._store.check(others):
                time.sleep(0.1)
        except RuntimeError as problem:
            logger.debug('cannot notify the other processes: %s', problem)

    def _end(self, code: int, text: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f'rank {self._rank}: {text}\n')
        sys.stderr.flush()
        os._exit(code)

    def failure(self, patience: float = 0.0) -> str | None:
        """Return the failure reported by another process, waiting up to ``patience`` seconds."""
        end = time.monotonic() + patience
        while self._reason is None:
            try:
                if self._store.check(['failed']):
                    self._reason = str(self._store.get('failed'), 'utf-8')
                    self._store.set(f'heard/{self._rank}', '1')
                    break
            except RuntimeError:
                return _GONE
            if time.monotonic() >= end:
                return None
            time.sleep(0.1)
        return self._reason

    def stop(self) -> None:
        """Stop monitoring at the end of this process."""
        self._stopped.set()
        self._threads[0].join()  # the other one monitors it until then
        self._left.set()
        self._threads[1].join()
        try:
            self._store.set(f'done/{self._rank}', '1')
        except RuntimeError as error:
            logger.debug('cannot notify the other processes: %s', error)

    def _run(self) -> None:
        beat = 0
        while not self._stopped.wait(_BEAT):
            beat += 1
            try:
                self._store.set(f'alive/{self._rank}', str(beat))
                reason = self.failure()
                if reason is None and (reason := self._silent(beat)) is not None:
                    self._tell(reason)
            except RuntimeError:
                reason = _GONE
            self._beats = beat
            if reason and not self._stopped.wait(3 * _BEAT):  # time for a regular exit
                self._end(EXIT_PEER_FAILED, f'stops because another process failed: {reason}')

    def _listen(self) -> None:
        """End this process if its heartbeat thread gets no answer, which raises no error."""
        known, quiet = -1, 0
        while not self._left.wait(_BEAT):
            known, quiet = self._beats, quiet + 1 if self._beats == known else 0
            if quiet >= DEAF_AFTER:
                silence = f'has not answered for {quiet * _BEAT:.0f} seconds (host or network down?)'
                self._end(EXIT_PEER_FAILED, f'stops: the process with the shared store {silence}')

    def _silent(self, beat: int) -> str | None:
        """Return a message about a process without heartbeats, counted in own beats (machines may sleep)."""
        for rank in self._looked_after:
            if not self._store.check([f'alive/{rank}']):
                continue
            theirs = int(self._store.get(f'alive/{rank}'))
            known, since = self._heard.get(rank, (-1, beat))
            if theirs != known:
                self._heard[rank] = (theirs, beat)
            elif beat - since > SILENT_AFTER and not self._store.check([f'done/{rank}']):
                return f'rank {rank} has been silent for {beat - since} seconds (killed?)'
        return None
