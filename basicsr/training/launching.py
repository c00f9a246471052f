"""Read the environment variables of launchers: rank, number of processes, address of the first process, GPU."""

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
_PORTS = range(12_000, 32_000)  # for Slurm jobs; below the range of ephemeral ports


def place_in_job(launcher: Launcher, port: int | None = None) -> tuple[int, int, int]:
    """Return the rank, the number of processes, and the local rank of this process.

    Args:
        launcher: 'pytorch' with torchrun; 'slurm' with srun, whose variables are translated to torchrun's.
        port: of the first node, for Slurm; None derives it from the job id, so that jobs on one node do not collide.

    Raises:
        OptionError: the launcher's variables are missing.
    """
    if launcher == 'slurm':
        _environment_of_slurm(port)
    rank, world, local = (_number(name, launcher) for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'))
    return rank, world, local


def own_gpu(local: int) -> torch.device:
    """Return the GPU of a process: by its local rank, or the only visible one.

    With ``--gpus-per-task=1``, each Slurm task sees only its own GPU, as number 0.

    Args:
        local: local rank of this process.

    Raises:
        OptionError: there are fewer GPUs than processes.
    """
    return select_device(f'cuda:{0 if torch.cuda.device_count() == 1 else local}')


def identity_of(device: torch.device) -> str:
    """Return a unique name of a GPU within the job; empty if torch does not provide it."""
    uuid = getattr(torch.cuda.get_device_properties(device), 'uuid', None)
    return '' if uuid is None else f'{socket.gethostname()} {uuid}'


def refuse_shared_gpus(identities: Sequence[str]) -> None:
    """Check that each process has its own GPU, as NCCL requires.

    Args:
        identities: of the GPUs of all processes, from :func:`identity_of`.

    Raises:
        OptionError: two processes share a GPU.
    """
    for rank, identity in enumerate(identities):
        first = identities.index(identity)
        if identity and first != rank:
            raise OptionError(
                f'ranks {first} and {rank} share one GPU ({identity}); start one process per GPU, '
                'or set dist_params: backend: gloo'
            )


def require_reachable_host(environment: Mapping[str, str]) -> None:
    """Check that other hosts can reach this one by its name, as gloo requires.

    Args:
        environment: of this process.

    Raises:
        OptionError: the name resolves to a loopback address, such as 127.0.1.1 in many /etc/hosts.
    """
    nodes = environment.get('SLURM_STEP_NUM_NODES') or environment.get('SLURM_NNODES') or '1'
    world, here = environment.get('WORLD_SIZE', '1'), environment.get('LOCAL_WORLD_SIZE')
    several = int(world) > int(here) if here else int(nodes) > 1
    if not several or environment.get('GLOO_SOCKET_IFNAME'):
        return
    name = socket.gethostname()
    try:
        address = str(socket.getaddrinfo(name, None)[0][4][0])  # gloo uses the first address, too, IPv4 or IPv6
    except OSError:
        address = 'nothing'
    if address == 'nothing' or ipaddress.ip_address(address).is_loopback:
        cards = [card for _, card in socket.if_nameindex() if card != 'lo']
        raise OptionError(
            f'the name of this host, {name}, resolves to {address}, which other hosts cannot reach. Set the network '
            f'interface of the cluster: export GLOO_SOCKET_IFNAME=... ({", ".join(cards) or "none found"})'
        )


def port_of_job(environment: Mapping[str, str]) -> int:
    """Return a port that is the same in all processes of a Slurm job step, and differs between jobs and steps."""
    job, step = (environment.get(f'SLURM_{name}_ID', '') for name in ('JOB', 'STEP'))
    if not job.isdigit():
        return USUAL_PORT
    return _PORTS[(int(job) * 101 + (int(step) if step.isdigit() else 0)) % len(_PORTS)]


def first_host(nodes: str) -> str:
    """Return the first host of a Slurm node list, such as ``gpu[03-05,9],login``.

    >>> first_host('gpu[03-05,9],login'), first_host('alpha,beta')
    ('gpu03', 'alpha')
    """
    match = re.match(r'([^\[,]*)(?:\[(\w+)[^\]]*\]([^,]*))?', nodes)
    return ''.join(part or '' for part in match.groups()) if match else nodes


def _environment_of_slurm(port: int | None) -> None:
    """Set torchrun's variables from those of Slurm."""
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
        logger.debug('scontrol is not available; using %s as the first host', host)
    os.environ.setdefault('MASTER_ADDR', host)
    os.environ.setdefault('MASTER_PORT', str(port_of_job(os.environ) if port is None else port))


def _number(name: str, launcher: str) -> int:
    value = os.environ.get(name, '')
    if not value.isdigit():
        start = 'torchrun' if launcher == 'pytorch' else 'srun'
        raise OptionError(f'--launcher {launcher}: the variable {name} is not set; start the command with {start}')
    return int(value)
