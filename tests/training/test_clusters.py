"""Launchers, hosts, GPUs and the watch over other processes, as far as one machine without GPUs can play them."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch import nn

from basicsr.models import image_restoration_model
from basicsr.models.image_restoration_model import ImageRestorationModel
from basicsr.options import load_options
from basicsr.training import checkpoints, distributed, launching, watch
from basicsr.training.distributed import Processes, start_processes
from basicsr.training.launching import own_gpu, port_of_job, refuse_shared_gpus, require_reachable_host
from basicsr.training.watch import Watch, agree_on_start, own_connection
from basicsr.utils.errors import OptionError, TrainingError
from tests.helpers import training_runs as runs

SHORT = timedelta(seconds=20)


# --- GPUs


@pytest.fixture
def gpus(monkeypatch):
    """``gpus(2)``: as on a machine with two."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
        monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)

    return pretend


@pytest.mark.parametrize(('count', 'local', 'index'), [(1, 0, 0), (1, 3, 0), (4, 0, 0), (4, 3, 3)])
def test_a_process_takes_the_gpu_of_its_number_or_the_only_one_it_sees(gpus, count, local, index):
    gpus(count)
    assert own_gpu(local) == torch.device('cuda', index)


def test_more_processes_than_gpus_are_refused(gpus):
    gpus(2)
    with pytest.raises(OptionError, match=r"'cuda:2' .*\b2\b"):
        own_gpu(2)


def test_two_processes_on_one_gpu_are_refused():
    refuse_shared_gpus(['a 1', 'a 2', 'b 1'])
    refuse_shared_gpus(['', ''])  # this torch does not know
    with pytest.raises(OptionError, match=r'ranks 1 and 3 .*\(a 2\)'):
        refuse_shared_gpus(['a 1', 'a 2', 'b 2', 'a 2'])


class Started(Exception):
    """The fake job has got as far as it can."""


@pytest.fixture
def job(monkeypatch, gpus):
    """``job(count, backend, **environment)`` starts this process as one of a job with GPUs; what torch was told."""
    told = {}

    def start(count, backend='nccl', launcher='slurm', **environment):
        gpus(count)
        monkeypatch.setattr(os, 'environ', {**os.environ, **environment})
        store = KeptStore(dist.HashStore())
        monkeypatch.setattr(distributed, 'rendezvous', lambda *a, **m: iter([(store, 0, 1)]))
        monkeypatch.setattr(distributed, 'PrefixStore', lambda prefix, inner: inner)
        monkeypatch.setattr(torch.cuda, 'set_device', lambda device: told.update(device=device))
        monkeypatch.setattr(dist, 'init_process_group', lambda name, **more: told.update(backends=name, **more))
        monkeypatch.setattr(dist, 'new_group', lambda **more: told.update(group=more))
        monkeypatch.setattr(distributed, 'Watch', lambda *arguments: None)
        monkeypatch.setattr(distributed, 'identity_of', lambda device: told.setdefault('identity', str(device)))
        return start_processes(launcher, backend=backend), told

    return start


class KeptStore:
    """A store as a rendezvous gives it."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def set_timeout(self, timeout):
        pass

    def clone(self):
        return self


SLURM = {
    'SLURM_PROCID': '0',
    'SLURM_NTASKS': '1',
    'SLURM_LOCALID': '3',
    'SLURM_NODELIST': 'localhost',
    'SLURM_JOB_ID': '4711',
    'MASTER_ADDR': 'localhost',
}


def test_a_task_of_slurm_with_a_gpu_of_its_own_starts(job):
    """``--gpus-per-task=1``: the fourth task of a host sees one GPU, as number 0."""
    processes, told = job(1, **SLURM)
    assert processes.device == told['device'] == torch.device('cuda:0')
    assert told['identity'] == 'cuda:0'
    assert told['backends'] == 'cpu:gloo,cuda:nccl'


def test_gradients_do_not_wait_as_long_as_messages(job):
    _, told = job(4, **SLURM)
    assert told['device'] == torch.device('cuda:3')
    assert told['group'] == {'backend': 'nccl', 'timeout': timedelta(minutes=10)}
    assert told['timeout'] == timedelta(minutes=30)  # the first process may have much to write


def test_gloo_between_gpus_may_share_them(job):
    processes, told = job(4, 'gloo', **SLURM)
    assert told['backends'] == 'gloo'
    assert 'identity' not in told
    assert processes.gradients is None


# --- hosts and ports


@pytest.mark.parametrize(
    ('environment', 'address', 'refused'),
    [
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, '127.0.1.1', True),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, '10.0.0.7', False),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, None, True),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, '2001:db8::7', False),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, 'fe80::7%eth0', False),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '2'}, '::1', True),
        ({'WORLD_SIZE': '4', 'LOCAL_WORLD_SIZE': '4'}, '127.0.1.1', False),  # one host
        ({'WORLD_SIZE': '4', 'SLURM_NNODES': '2'}, '127.0.0.1', True),
        ({'WORLD_SIZE': '4', 'SLURM_NNODES': '2', 'SLURM_STEP_NUM_NODES': '1'}, '127.0.0.1', False),
        ({'WORLD_SIZE': '4', 'SLURM_NNODES': '2', 'GLOO_SOCKET_IFNAME': 'ib0'}, '127.0.1.1', False),
        ({'WORLD_SIZE': '4'}, '127.0.1.1', False),
        ({}, '127.0.1.1', False),
    ],
)
def test_a_host_whose_name_means_itself_alone_is_refused_among_others(environment, address, refused, monkeypatch):
    def look_up(name, port):
        if address is None:
            raise socket.gaierror(-2, 'Name or service not known')
        return [(socket.AF_UNSPEC, socket.SOCK_STREAM, 6, '', (address, 0))]

    monkeypatch.setattr(socket, 'gethostname', lambda: 'node7')
    monkeypatch.setattr(socket, 'getaddrinfo', look_up)
    monkeypatch.setattr(socket, 'if_nameindex', lambda: [(1, 'lo'), (2, 'eth0'), (3, 'ib0')])
    if not refused:
        require_reachable_host(environment)
        return
    with pytest.raises(OptionError) as raised:
        require_reachable_host(environment)
    assert re.search(rf'node7.* {address or ""}', str(raised.value))
    assert 'GLOO_SOCKET_IFNAME=... (eth0, ib0)' in str(raised.value)


def test_jobs_of_slurm_on_one_node_have_ports_of_their_own():
    ports = {port_of_job({'SLURM_JOB_ID': str(job), 'SLURM_STEP_ID': step}) for job in range(90, 100) for step in '012'}
    assert len(ports) == 30
    assert all(12_000 <= port < 32_000 for port in ports)
    assert port_of_job({'SLURM_JOB_ID': '7'}) == port_of_job({'SLURM_JOB_ID': '7', 'SLURM_STEP_ID': '0'})
    assert port_of_job({'SLURM_JOB_ID': '7', 'SLURM_STEP_ID': '4294967290'}) in range(12_000, 32_000)
    assert port_of_job({}) == 29500


@pytest.mark.parametrize(('given', 'set_before', 'expected'), [(None, None, 'job'), (31, None, '31'), (31, '32', '32')])
def test_the_port_of_the_options_or_of_the_user_wins(monkeypatch, given, set_before, expected):
    monkeypatch.setattr(os, 'environ', {**SLURM, **({'MASTER_PORT': set_before} if set_before else {})})
    launching.place_in_job('slurm', given)
    job = str(port_of_job(SLURM))
    assert os.environ['MASTER_PORT'] == (job if expected == 'job' else expected)


def test_option_files_name_no_port_unless_they_want_one(tmp_path, roots):
    content = runs.options(roots)
    assert load_options(runs.write_options(tmp_path, content)).dist_params.port is None
    content['dist_params'] = {'backend': 'nccl', 'port': 29500}  # as in files of the original
    assert load_options(runs.write_options(tmp_path, content)).dist_params.port == 29500


# --- what processes tell each other


def agree(stores, world):
    """What each process gets."""
    found = {}
    threads = [
        threading.Thread(target=lambda r=rank: found.update({r: agree_on_start(stores[r], r, world, SHORT)}))
        for rank in reversed(range(world))
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return found


def test_each_start_has_a_text_of_its_own_whatever_an_earlier_one_has_left():
    """torchrun keeps the store, also when it goes on with fewer or more processes."""
    store, seen = dist.HashStore(), set()
    for world in (3, 2, 4, 3, 1):
        found = agree([store] * world, world)
        assert len(found) == world
        (text,) = set(found.values())
        assert text not in seen
        seen.add(text)


def test_processes_that_do_not_come_are_named():
    with pytest.raises(TrainingError, match=r'rank 0: .* rank 1, 2 '):
        agree_on_start(dist.HashStore(), 0, 3, timedelta(seconds=0.1))
    with pytest.raises(TrainingError, match=r'rank 2: .* rank 0'):
        agree_on_start(dist.HashStore(), 2, 3, timedelta(seconds=0.1))


@pytest.fixture
def server(monkeypatch):
    """A store on a port of its own, and torchrun's variables that lead to it."""
    store = dist.TCPStore('127.0.0.1', 0, is_master=True, timeout=SHORT, wait_for_workers=False)
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    monkeypatch.setenv('MASTER_PORT', str(store.port))
    return store


class WithoutClone:
    """A store of torch 2.7 and before."""

    def __init__(self, store):
        self.set = store.set


@pytest.mark.parametrize('old', [False, True])
def test_the_watch_has_a_connection_of_its_own(server, old):
    mine = dist.TCPStore('127.0.0.1', server.port, is_master=False, timeout=SHORT, wait_for_workers=False)
    other = own_connection(WithoutClone(mine) if old else mine, SHORT)
    waits = threading.Thread(target=mine.get, args=['late'])  # as a process that waits for others does
    waits.start()
    time.sleep(0.2)
    other.set('alive', '1')
    assert other.get('alive') == b'1'
    assert waits.is_alive()
    other.set('late', '1')
    waits.join(10)
    assert not waits.is_alive()


class Counted:
    """A store that counts requests."""

    def __init__(self):
        self.content, self.requests = {}, 0

    def set(self, key, value):
        self.requests += 1
        self.content[key] = value.encode()

    def get(self, key):
        self.requests += 1
        return self.content[key]

    def check(self, keys):
        self.requests += 1
        return all(key in self.content for key in keys)


class Deaf(Counted):
    """A store on a host that has lost power."""

    def check(self, keys):
        threading.Event().wait(60)


@pytest.fixture
def ended(monkeypatch):
    """What would have ended this process; heartbeats come fast."""
    said = []

    def end(self, code, text):
        said.append((code, text))
        self._stopped.set()
        self._left.set()

    monkeypatch.setattr(watch, '_BEAT', 0.02)
    monkeypatch.setattr(watch.Watch, '_end', end)
    return said


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_a_store_that_does_not_answer_ends_the_process(ended, monkeypatch):
    monkeypatch.setattr(watch, 'DEAF_AFTER', 10)
    Watch(Deaf(), 1, 2)
    wait_for(lambda: ended)
    ((code, text),) = ended
    assert code == 4
    assert re.search(r'\b0 seconds', text)


def test_a_store_that_answers_does_not(ended, monkeypatch):
    monkeypatch.setattr(watch, 'DEAF_AFTER', 10)
    store = Counted()
    one = Watch(store, 1, 2)
    wait_for(lambda: int(store.content.get('alive/1', b'0')) > 25)
    one.stop()
    assert ended == []
    assert store.content['done/1'] == b'1'


def test_questions_do_not_grow_with_the_square_of_the_number_of_processes(ended):
    requests = []
    for world in (8, 512):
        store = Counted()
        store.content = {f'alive/{rank}': b'1' for rank in range(world)}
        one = Watch(store, 0, world)
        wait_for(lambda store=store: int(store.content['alive/0']) > 10)
        one._stopped.set()
        requests.append(store.requests / int(store.content['alive/0']))
        one.stop()
    assert requests[1] == pytest.approx(requests[0], rel=0.3)
    assert requests[1] < 12


def test_whoever_finds_a_process_silent_tells_all(ended, monkeypatch):
    """Rank 7 is frozen; ranks 3 to 6 look after it, and rank 0 hears of it from them."""
    monkeypatch.setattr(watch, 'SILENT_AFTER', 3)
    store = Counted()
    store.content = {'alive/7': b'12'}
    watches = [Watch(store, rank, 8) for rank in (0, 5)]
    assert 7 not in watches[0]._looked_after
    assert 7 in watches[1]._looked_after
    wait_for(lambda: len(ended) == 2)
    assert b'rank 7 ' in store.content['failed']
    assert all(code == 4 and 'rank 7 ' in text for code, text in ended)


def test_every_process_is_looked_after_also_where_a_whole_host_is_gone():
    for world in (2, 3, 5, 16):
        for dead_from in range(world):
            dead = {(dead_from + k) % world for k in range(max(1, world // 2))}
            alive = set(range(world)) - dead
            looked = {r: [(r + s) % world for s in range(1, min(watch.NEIGHBOURS, world - 1) + 1)] for r in alive}
            assert any(set(others) & dead for others in looked.values())


# --- gradients and provenance


class Wrapper(nn.Module):
    """In place of DistributedDataParallel."""

    def __init__(self, module, **arguments):
        super().__init__()
        self.module, self.arguments = module, arguments


@pytest.mark.parametrize('averaging', [False, True])
def test_buffers_are_sent_only_where_they_change(tmp_path, roots, monkeypatch, averaging):
    monkeypatch.setattr(image_restoration_model, 'DistributedDataParallel', Wrapper)
    if averaging:
        original = image_restoration_model.build_network

        def with_batch_norm(options):
            net = original(options)
            net.norm = nn.BatchNorm2d(3)
            return net

        monkeypatch.setattr(image_restoration_model, 'build_network', with_batch_norm)
    options = load_options(runs.write_options(tmp_path, runs.options(roots)))
    model = ImageRestorationModel(options, Processes(world=2, gradients='a group'))
    assert model._forward.arguments['broadcast_buffers'] is averaging
    assert model._forward.arguments['process_group'] == 'a group'


def test_the_commit_is_that_of_the_start(tmp_path, roots, monkeypatch):
    commits = iter(['at the start', 'later', 'later still'])
    monkeypatch.setattr(checkpoints, '_git_commit', lambda: next(commits))
    assert runs.train(tmp_path, runs.options(roots)) == 0
    files = list((tmp_path / 'experiments/run/models').glob('*.pth'))
    assert len(files) > 2
    assert {torch.load(file, weights_only=True)['git_commit'] for file in files} == {'at the start'}
    assert next(commits) == 'later'
