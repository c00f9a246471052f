"""What launchers say in environment variables: who this process is, where the others are, which GPU is its own."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from typing import Literal

import torch

from basicsr.utils.device import select_device
from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)

Launcher = Literal['none', 'pytorch', 'slurm']
USUAL_PORT = 29500
_PORTS = range(12_000, 32_000)  # for jobs of Slurm; those above are given to connections at random


def place_in_job(launcher: Launcher, port: int | None = None) -> tuple[int, int, int]:
    """Rank, number of processes, and number of this process on its host.

    Args:
        launcher: 'pytorch' under torchrun; 'slurm' under srun, whose variables are translated into torchrun's.
        port: of the first node, for Slurm; None derives one from the job, so that two jobs on a node do not meet.

    Raises:
        OptionError: the launcher's variables are missing.
    """
    if launcher == 'slurm':
        _environment_of_slurm(port)
    rank, world, local = (_number(name, launcher) for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'))
    return rank, world, local


def own_gpu(local: int) -> torch.device:
    """The GPU of a process: that of its number on the host, or the only one that it sees.

    Slurm shows every task its own GPU alone (``--gpus-per-task=1``), which is number 0 to each of them.

    Args:
        local: number of this process on its host.

    Raises:
        OptionError: there are fewer GPUs than processes.
    """
    return select_device(f'cuda:{0 if torch.cuda.device_count() == 1 else local}')


def identity_of(device: torch.device) -> str:
    """What tells a GPU from all others of a job; empty if torch does not know."""
    uuid = getattr(torch.cuda.get_device_properties(device), 'uuid', None)
    return '' if uuid is None else f'{socket.gethostname()} {uuid}'


def refuse_shared_gpus(identities: Sequence[str]) -> None:
    """NCCL works with one process on a GPU only.

    Args:
        identities: of the GPUs of all processes, by rank; see :func:`identity_of`.

    Raises:
        OptionError: two processes have the same.
    """
    for rank, identity in enumerate(identities):
        first = identities.index(identity)
        if identity and first != rank:
            raise OptionError(
                f'ranks {first} and {rank} have one GPU ({identity}); start one process for each GPU, '
                'or set dist_params: backend: gloo'
            )


def require_reachable_host(environment: Mapping[str, str]) -> None:
    """Make sure that other hosts can reach this one by its name, where there are others: gloo goes by it.

    Args:
        environment: of this process.

    Raises:
        OptionError: the name means this host alone, as 127.0.1.1 in many /etc/hosts.
    """
    nodes = environment.get('SLURM_STEP_NUM_NODES') or environment.get('SLURM_NNODES') or '1'
    world, here = environment.get('WORLD_SIZE', '1'), environment.get('LOCAL_WORLD_SIZE')
    several = int(world) > int(here) if here else int(nodes) > 1
    if not several or environment.get('GLOO_SOCKET_IFNAME'):
        return
    name = socket.gethostname()
    try:
        address = str(socket.getaddrinfo(name, None)[0][4][0])  # gloo takes the first as well, IPv4 or IPv6
    except OSError:
        address = 'nothing'
    if address == 'nothing' or ipaddress.ip_address(address).is_loopback:
        cards = [card for _, card in socket.if_nameindex() if card != 'lo']
        raise OptionError(
            f'the name of this host, {name}, means {address} here, which no other host can reach. Name the network '
            f'card of the cluster: export GLOO_SOCKET_IFNAME=... ({", ".join(cards) or "there is none"})'
        )


def port_of_job(environment: Mapping[str, str]) -> int:
    """A port that is the same in all processes of a job of Slurm, and another one in other jobs and steps."""
    job, step = (environment.get(f'SLURM_{name}_ID', '') for name in ('JOB', 'STEP'))
    if not job.isdigit():
        return USUAL_PORT
    return _PORTS[(int(job) * 101 + (int(step) if step.isdigit() else 0)) % len(_PORTS)]


def first_host(nodes: str) -> str:
    """The first host of a Slurm node list, such as ``gpu[03-05,9],login``.

    >>> first_host('gpu[03-05,9],login'), first_host('alpha,beta')
    ('gpu03', 'alpha')
    """
    match = re.match(r'([^\[,]*)(?:\[(\w+)[^\]]*\]([^,]*))?', nodes)
    return ''.join(part or '' for part in match.groups()) if match else nodes


def _environment_of_slurm(port: int | None) -> None:
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
    os.environ.setdefault('MASTER_PORT', str(port_of_job(os.environ) if port is None else port))


def _number(name: str, launcher: str) -> int:
    value = os.environ.get(name, '')
    if not value.isdigit():
        start = 'torchrun' if launcher == 'pytorch' else 'srun'
        raise OptionError(f'--launcher {launcher}: the variable {name} is not set; start the command with {start}')
    return int(value)
