"""Kill or stop one of two processes of a training, or the process with their shared store, and continue."""

from __future__ import annotations

import os
import random
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from basicsr.training import watch
from tests.helpers import training_runs as runs
from tests.torture.kills import STEPS, output, recipe, trained
from tests.torture.tally import Tally

EQUAL = 'all processes end within a minute and say why; continued, the result is equal, bit for bit'
FAULTS = ('a killed rank', 'a stopped rank', 'a killed store', 'a stopped store')


def impatient() -> None:
    """Notice silence after seconds, not after a minute."""
    watch.SILENT_AFTER = 3
    watch.DEAF_AFTER = 5


def host_store(port: int) -> None:
    """Host the shared store, as torchrun's agent does, until this process is killed."""
    import torch.distributed as dist

    store = dist.TCPStore('127.0.0.1', port, is_master=True, timeout=timedelta(minutes=1), wait_for_workers=False)
    while store.port:
        time.sleep(60)


class Ranks:
    """A training of two processes, with the store in a third one.

    Args:
        work: folder for its runs.
    """

    def __init__(self, work: Path) -> None:
        content = recipe(runs.write_pairs(work / 'pairs', growth=2), datasets__train__num_worker_per_gpu=1)
        self.content, self.work, self._number = content, work, 0
        processes, store = self.start(work / 'whole')
        began = time.monotonic()
        _wait_for_log(work / 'whole', processes)
        loaded = time.monotonic()
        assert runs.ends(processes) == [0, 0], output(work / 'whole')
        self.seconds = time.monotonic() - max(loaded, began)
        """From the first step to the end."""
        store.kill()
        self._expected = trained(work / 'whole')

    def start(self, folder: Path) -> tuple[list[Any], Any]:
        """Start the ranks and the process with their store."""
        port = runs.ranks(1)[0]['MASTER_PORT']
        store = runs.CONTEXT.Process(target=host_store, args=(int(port),))
        store.start()
        environment = {'MASTER_PORT': port, 'TORCHELASTIC_USE_AGENT_STORE': 'True', 'TORCHELASTIC_RESTART_COUNT': '0'}
        processes = runs.start_ranks(folder, self.content, 2, '--auto_resume', prepare=impatient, **environment)
        return processes, store

    def disturb(self, fault: str, rank: int, delay: float) -> tuple[str, str]:
        """Let one thing go wrong, then continue; how it ended, and what is wrong, if anything.

        Args:
            fault: one of ``FAULTS``.
            rank: of the process that is killed or stopped.
            delay: seconds after the first step.
        """
        self._number += 1
        folder = self.work / str(self._number)
        processes, store = self.start(folder)
        _wait_for_log(folder, processes)
        time.sleep(delay)
        victim = store if 'store' in fault else processes[rank]
        number = signal.SIGKILL if 'killed' in fault else signal.SIGSTOP
        others = processes if victim is store else [processes[1 - rank]]
        if any(process.exitcode is not None for process in processes):
            how = 'was done before'
        else:
            os.kill(victim.pid, number)
            how = 'the others ended'
        codes = runs.ends(others, timeout=60)
        for process in (*processes, store):
            process.kill()
            process.join()
        text = output(folder)
        allowed = ({4}, {0, 4})[how == 'was done before' or _is_done(folder)]
        if not set(codes) <= allowed or 'Traceback' in text:
            return how, f'{fault}, rank {rank}: exit codes {codes}: {text[-1500:]}'
        processes, store = self.start(folder)
        codes = runs.ends(processes)
        store.kill()
        if codes != [0, 0]:
            return how, f'{fault}, rank {rank}: continued with exit codes {codes}: {output(folder)[-1500:]}'
        found = runs.differences(trained(folder), self._expected)
        return how, f'{fault}, rank {rank}: different: {found[:5]}' if found else ''


def _wait_for_log(folder: Path, processes: list[Any], seconds: float = 60) -> None:
    log, end = folder / 'experiments/run/log/run.jsonl', time.monotonic() + seconds
    while not log.is_file() and time.monotonic() < end and all(one.exitcode is None for one in processes):
        time.sleep(0.01)


def _is_done(folder: Path) -> bool:
    return (folder / f'experiments/run/training_states/{STEPS}.state').is_file()


def torture(work: Path, times: int, rng: random.Random) -> list[Tally]:
    """Let each fault happen as often as asked for."""
    job = Ranks(work)
    tally = Tally('Two processes', EQUAL)
    for fault in FAULTS:
        for _ in range(times):
            tally.add(fault, *job.disturb(fault, rng.randrange(2), rng.uniform(0, 0.8 * job.seconds)))
    return [tally]
