"""Worker processes of the loader live as long as their parent wants, whoever else sends them signals."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from basicsr.data import build_dataloader

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


def take(numbers):
    return [int(number) for number in numbers]


@pytest.fixture
def loader():
    made = build_dataloader(list(range(40)), {'num_worker_per_gpu': 2, 'batch_size_per_gpu': 2}, 'train')
    made.collate_fn = take
    yield made
    made._iterator._shutdown_workers()


@pytest.mark.parametrize('number', SIGNALS)
def test_signals_from_others_are_left_to_the_parent(loader, number):
    batches = iter(loader)
    seen = list(next(batches))
    workers = [worker.pid for worker in multiprocessing.active_children()]
    assert len(workers) == 2
    for _ in range(2):  # a scheduler may send it more than once
        subprocess.run(['kill', f'-{int(number)}', *map(str, workers)], check=True)
        time.sleep(0.1)
    for batch in batches:
        seen += batch
    assert sorted(seen) == list(range(40))
    assert [worker.pid for worker in multiprocessing.active_children()] == workers


def test_the_parent_can_end_them(loader):
    next(iter(loader))
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.terminate()
        worker.join(10)
    assert [worker.exitcode for worker in workers] == [0, 0]


def tell(numbers):
    return [os.getpid(), os.getppid()]


@pytest.fixture
def forkserver():
    """What starts processes by default from Python 3.14 on."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method('forkserver', force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere forks are not safe')
@pytest.mark.usefixtures('forkserver')
def test_workers_are_children_of_the_trainer_whatever_python_prefers(loader):
    loader.collate_fn = tell
    worker, parent = next(iter(loader))
    assert parent == os.getpid()
    assert worker in [child.pid for child in multiprocessing.active_children()]


@pytest.mark.slow
@pytest.mark.usefixtures('forkserver')
def test_the_trainer_can_end_workers_that_a_server_has_forked(loader):
    loader.multiprocessing_context = 'forkserver'
    loader.collate_fn = tell
    batches = iter(loader)
    parents = {next(batches)[1] for _ in range(4)}  # both have started
    assert os.getpid() not in parents
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        worker.terminate()
        worker.join(10)
    assert [worker.exitcode for worker in workers] == [0, 0]


CODE = """
import os, signal, sys
from basicsr.data import build_dataloader
loader = build_dataloader(list(range(40)), {'num_worker_per_gpu': 2, 'batch_size_per_gpu': 2}, 'train')
loader.collate_fn = list
batches = iter(loader)
next(batches)
print(*[worker.pid for worker in batches._workers], flush=True)
if sys.argv[1] == 'killed':
    os.kill(os.getpid(), signal.SIGKILL)
batches.keep = batches  # nobody shuts the loader down
"""


@pytest.mark.slow
@pytest.mark.parametrize('end', ['killed', 'over'])
def test_they_end_with_a_parent_that_is_killed_or_forgets_them(end):
    done = subprocess.run([sys.executable, '-c', CODE, end], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if end == 'killed' else 0), done.stderr
    for pid in map(int, done.stdout.split()):
        end_by = time.monotonic() + 30
        while time.monotonic() < end_by and _lives(pid):
            time.sleep(0.2)
        assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = subprocess.run(['ps', '-o', 'stat=', '-p', str(pid)], capture_output=True, text=True, check=False)
    return not status.stdout.startswith('Z')  # in a container nobody may reap orphans
