"""Let the disk become full while a command runs, give it room, run it again, and compare with an undisturbed run.

The disk is a small tmpfs where mounting is allowed. Elsewhere, Python's files are replaced by files that share a number
of bytes: the write beyond them fails with ENOSPC, as on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers import training_runs as runs
from tests.torture.kills import JOBS, Job, output
from tests.torture.tally import Tally

PLACES = {'training': 'experiments', 'evaluation': 'results', 'mask making': 'masks'}
EQUAL = 'an error that names the file; finished work stays; run again with more room, the result is equal'


class FullAfter:
    """Replaces ``io.open``, so that the files that a process writes below a folder have a number of bytes together.

    Args:
        room: number of bytes.
        folder: other files have no limit.
    """

    def __init__(self, room: int, folder: Path) -> None:
        self.room, self.folder = room, folder

    def __call__(self) -> None:
        """Take the place of ``io.open``, which ``Path.open`` calls, and of the built-in function."""
        import builtins

        original, outer = io.open, self

        class Limited(io.FileIO):
            """A file that takes its bytes from the room of all."""

            def write(self, data: Any) -> int:
                size = memoryview(data).nbytes
                if size > outer.room:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                outer.room -= size
                return super().write(data)

        def limited(file: Any, mode: str = 'r', buffering: int = -1, encoding: Any = None, *more: Any, **others: Any):
            below = not isinstance(file, int) and Path(os.fsdecode(file)).absolute().is_relative_to(outer.folder)
            if not below or not set(mode) & set('wax+') or mode == 'rb+':  # rb+: opened to be flushed to the disk
                return original(file, mode, buffering, encoding, *more, **others)
            raw = Limited(file, mode.replace('b', '').replace('t', ''))
            if buffering == 0:
                return raw
            buffered = (io.BufferedRandom if '+' in mode else io.BufferedWriter)(raw)  # type: ignore[type-var]
            return buffered if 'b' in mode else io.TextIOWrapper(buffered, encoding, *more, **others)

        io.open = builtins.open = limited  # type: ignore[assignment]


def can_mount(folder: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    folder.mkdir()
    with small_disk(folder, 1 << 20) as mounted:
        return mounted


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs; yields whether it is allowed."""
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)], capture_output=True, check=False
        )
        if done.returncode == 0:
            try:
                yield True
            finally:
                subprocess.run(['umount', '-l', str(folder)], check=True)
            return
    yield False


def size_of(folder: Path) -> int:
    """Bytes of the files of a folder, in pages of 4 KiB as on a tmpfs."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob('*') if path.is_file())


def fill(job: Job, share: float, mounted: bool) -> tuple[str, str]:
    """Run a job on a disk that has a share of the room that it needs, then with enough room.

    Args:
        job: the job.
        share: between 0 and 1.
        mounted: a tmpfs is the disk.

    Returns:
        how the first run ended, and what is wrong, if anything.
    """
    folder, name = job.new_folder(), PLACES[job.name]
    room = round(share * size_of(folder.parent / 'whole' / name))
    place = folder / name
    place.mkdir(parents=True)
    if not mounted:
        process = job.start(folder, prepare=FullAfter(room, place))
        how, problem = _first_end(job, folder, process)
        return how, problem or job.finish(folder)
    with small_disk(place, max(room, 4096)):
        how, problem = _first_end(job, folder, job.start(folder))
        subprocess.run(['mount', '-o', 'remount,size=1g', str(place)], check=True)
        return how, problem or job.finish(folder)


def _first_end(job: Job, folder: Path, process: Any) -> tuple[str, str]:
    (code,) = runs.ends([process])
    text = output(folder)
    if code == 0:
        return 'had room enough', ''
    wrong = ''
    if code != 1 or 'Traceback' in text or os.strerror(errno.ENOSPC) not in text or PLACES[job.name] not in text:
        wrong = f'{job.name}: exit code {code}: {text[-1500:]}'
    left = [path.name for path in folder.rglob('*.part*')]
    return 'stopped with an error', wrong or (f'{job.name}: files left on the full disk: {left}' if left else '')


def torture(work: Path, disks: int, rng: random.Random) -> list[Tally]:
    """Fill disks; three of five under a training, the others under an evaluation and the making of masks."""
    mounted = can_mount(work / 'mount')
    kind = 'a small tmpfs' if mounted else 'ENOSPC injected into files of Python'
    tally = Tally(f'Full disks ({kind})', EQUAL)
    jobs = [make(work) for make in JOBS]
    for number in range(disks):
        job = jobs[(0, 1, 0, 2, 0)[number % 5]]
        how, problem = fill(job, rng.uniform(0, 0.95), mounted)
        tally.add(job.name, how, problem)
    return [tally]
