"""Read files in a process of its own, which reports how each reading ended, its memory, and what it left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.utils.errors import BasicsrError
from tests.helpers import training_runs as runs

SECONDS = 60.0
"""Limit of one reading."""


@dataclass(frozen=True)
class Ending:
    """How a reading ended.

    Args:
        outcome: ``refused`` with an error of the package that names the file, ``read``, or what must not be:
            ``unnamed``, ``foreign``, ``crash``, ``slow``.
        error: class of the error, or the result in words.
        message: of the error.
        memory: MiB that it took at most, more than the idle process.
        left: files that it left behind.
    """

    outcome: str
    error: str
    message: str = ''
    memory: int = 0
    left: tuple[str, ...] = ()


# --- the readers: each takes a path, returns the result in words, and writes into the current folder only


def photo(path: Path) -> str:
    """A photo as the command reads it, and the result that it writes."""
    from basicsr.images.files import image_size, imread
    from basicsr.photos.jobs import Inputs, plan
    from basicsr.photos.runs import run_photo
    from basicsr.utils.errors import ImageFileError
    from tests.helpers.videos import leaving

    image_size(path)
    with contextlib.suppress(ImageFileError):  # the whole command decides
        imread(path)
    Path('out').mkdir(exist_ok=True)
    (job,) = plan(Inputs([path]), Path('out'), '_deblurred', [])
    done = run_photo(leaving(), job)
    assert done.result.pixels.dtype in (np.uint8, np.uint16) and job.output is not None
    job.output.unlink()
    return 'photo'


def masks(path: Path) -> str:
    """A mask file of any tool, for a photo of 64×96 pixels."""
    from basicsr.masks import read_masks

    labels = read_masks(path, (64, 96))
    assert labels.ndim == 3 and labels.shape[1:] == (64, 96) and labels.min() >= 0
    return 'label map'


def options(path: Path) -> str:
    """An option file, and everything in it on paper."""
    from basicsr.options import load_options
    from basicsr.preflight import build_on_paper

    options = load_options(path, [], 'train')
    build_on_paper(options)
    assert Path('experiments', options.name).resolve().parent == Path('experiments').resolve()
    return 'options'


def network(path: Path) -> str:
    """A network file, and a photo that it deblurs."""
    from basicsr.inference.deblurrer import Deblurrer

    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    result = Deblurrer.load(path, device='cpu', masks='none', guard='off')(image)
    assert result.shape == image.shape and result.dtype == np.uint8
    return 'network'


def state(path: Path) -> str:
    """A training state with its network file."""
    from basicsr.training.checkpoints import read_checkpoint

    return f'checkpoint of step {read_checkpoint(path).iteration}'


def keras(path: Path) -> str:
    """A weight file of Keras."""
    from basicsr.interchange.keras_files import KerasFile

    with KerasFile(path) as file:
        return f'{len([weight.tensor() for weight in file.weights()])} weights'


def store(path: Path) -> str:
    """An LMDB or a raw store: all its images, unpacked into a folder."""
    from basicsr.data.stores.opening import open_store, unpack

    found = open_store(path, {'type': 'lmdb' if path.suffix == '.lmdb' else 'raw'})
    for key in found.keys:
        found.image(key)
    unpack(found, 'unpacked')
    shutil.rmtree('unpacked')
    return 'store'


def video(path: Path) -> str:
    """All frames of a video."""
    from basicsr.videos.opening import open_video

    with open_video(path) as reader:
        count = sum(1 for _ in reader.frames(lambda packet: None))
    assert count
    return 'video'


def kernel(path: Path) -> str:
    """A blur kernel."""
    from basicsr.deconvolution.kernels import read_kernel

    values = read_kernel(path)
    assert np.isfinite(values).all() and abs(float(values.sum()) - 1) < 1e-3
    return 'kernel'


def report(path: Path) -> str:
    """The report of an evaluation, and its tables."""
    from basicsr.reporting import read_report, summary_table

    summary_table(read_report(path)).text()
    return 'report'


def record(path: Path) -> str:
    """The records beside masks and prepared data sets."""
    from basicsr.masks.record import read_mask_record
    from basicsr.preparation.dataset_record import read_dataset_record

    (read_mask_record if path.name == 'masks.json' else read_dataset_record)(path.parent)
    return 'record'


READERS: dict[str, Callable[[Path], str]] = {
    one.__name__: one for one in (photo, masks, options, network, state, keras, store, video, kernel, report, record)
}


# --- the process


class Reading:
    """A process that reads files, and is started again when it ends.

    Args:
        folder: for its files.
        warm: readers and good files; the process is idle after it has read them.
    """

    def __init__(self, folder: Path, warm: list[tuple[str, Path]]) -> None:
        self._folder, self._warm = folder, warm
        self._process: Any = None

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, reader: str, path: Path) -> Ending:
        """Read a file; its folder must contain nothing else that matters."""
        if self._process is None:
            self._pipe, theirs = runs.CONTEXT.Pipe()
            log = self._folder / 'reading.txt'
            self._process = runs.CONTEXT.Process(target=_serve, args=(theirs, self._warm, log), daemon=True)
            self._process.start()
            theirs.close()
            if not self._pipe.poll(300) or self._pipe.recv() != 'ready':
                raise AssertionError(log.read_text())
        self._pipe.send((reader, path))
        if not self._pipe.poll(SECONDS):
            self._end()
            return Ending('slow', 'no end', f'{path}: no end after {SECONDS:g} seconds')
        try:
            ending: Ending = self._pipe.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._end()
            return Ending('crash', f'exit code {code}', f'{path}: the process ended with exit code {code}')
        return ending

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _serve(pipe: Any, warm: list[tuple[str, Path]], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    logging.disable(logging.CRITICAL)
    for reader, path in warm:
        with _inside(path.parent / 'work'):
            READERS[reader](path)
        shutil.rmtree(path.parent / 'work')
    idle = _memory('VmRSS')
    pipe.send('ready')
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(_ending(*pipe.recv(), idle))


def _ending(reader: str, path: Path, idle: int) -> Ending:
    before = _names(path.parent)
    Path('/proc/self/clear_refs').write_text('5')  # the largest size is counted from here
    began = time.monotonic()
    try:
        with _inside(path.parent / 'work'):
            found = 'read', READERS[reader](path), ''
    except BasicsrError as error:
        named = path.name in str(error) or path.stem in str(error)
        found = 'refused' if named else 'unnamed', type(error).__name__, str(error)
    except BaseException as error:  # noqa: BLE001 - whatever comes is an outcome
        found = 'foreign', type(error).__name__, ''.join(traceback.format_exception(error))[-1500:]
    memory = _memory('VmHWM') - idle
    seconds = time.monotonic() - began
    work = path.parent / 'work'
    left = tuple(sorted(_names(path.parent) - before - {'work', 'work/out'}))
    shutil.rmtree(work, ignore_errors=True)
    if seconds > SECONDS / 2:
        found = 'slow', found[1], f'{seconds:.0f} seconds: {found[2]}'
    return Ending(*found, max(memory, 0) // 1024, left)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    folder.mkdir()
    os.chdir(folder)
    os.environ['TMPDIR'] = str(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*')}


def _memory(name: str) -> int:
    """KiB of this process."""
    if sys.platform != 'linux':
        return 0
    lines = Path('/proc/self/status').read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f'{name}:')))
