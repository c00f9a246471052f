"""Training logs: text on the console and in a file, JSON lines, TensorBoard, wandb."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from basicsr.options import Options
from basicsr.training.board import Board
from basicsr.utils.errors import OptionError
from basicsr.utils.files import write_whole

logger = logging.getLogger(__name__)

Values = Mapping[str, float]


class RunLog:
    """The log of one run, written by its first process.

    ``log/<name>.jsonl`` has one object per line: ``iter``, ``epoch``, the losses, ``lr``, ``grad_norm``, ``seconds``
    (per step) and ``data_seconds`` (of it, waiting for data); or ``iter``, ``dataset`` and its scores.

    Before :meth:`open`, records are kept in memory, so that a run that fails at its start creates no files.

    Args:
        experiment: folder of the experiment.
        name: of the run.
        total_iter: last iteration, for the remaining time.
        start: iteration before the first step of this run; later lines of an earlier run are deleted.
        options: enable TensorBoard (``log/tensorboard``) and wandb, which stores all of them; None disables both.

    Raises:
        OptionError: tensorboard or wandb is enabled but not installed.
    """

    def __init__(
        self, experiment: Path, name: str, total_iter: int, start: int = 0, options: Options | None = None
    ) -> None:
        self._folder = experiment / 'log'
        self.path = self._folder / f'{name}.jsonl'
        self._name, self._total_iter, self._start = name, total_iter, start
        self._begin = time.monotonic()
        # keeps records in memory until the file exists
        self._text = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize, flushOnClose=False)
        self._file: TextIO | None = None
        boarded = options is not None and options.logger.use_tb_logger
        self._board = Board(self._folder / 'tensorboard', start) if boarded else None
        self._wandb = _wandb(options) if options is not None else None
        logging.getLogger('basicsr').addHandler(self._text)

    def open(self) -> None:
        """Create the files or append to existing ones; further calls do nothing."""
        if self._file is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        cut_back(self.path, self._start)
        self._file = self.path.open('a', encoding='utf-8')
        file = _TextFile(self._folder / f'{self._name}.log', encoding='utf-8')
        file.setFormatter(logging.Formatter('%(asctime)s %(levelname)s: %(message)s'))
        self._text.setTarget(file)
        self._text.flush()
        self._text.capacity = 0  # from now on, write each record at once
        if self._board is not None:
            self._board.open()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the files.

        Raises:
            OSError: without another error, if the end cannot be written.
        """
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._text.handle(logging.LogRecord('basicsr', logging.ERROR, '', 0, str(error), (), None))
        logging.getLogger('basicsr').removeHandler(self._text)
        with contextlib.ExitStack() as closing:
            if error is not None:
                closing.enter_context(contextlib.suppress(OSError))  # the first error is the one to report
            for each in (self._text, self._text.target, self._file, self._board):
                if each is not None:
                    closing.callback(each.close)
            if self._wandb is not None:
                closing.callback(self._wandb.finish)

    def step(
        self, iteration: int, epoch: int, losses: Values, lr: float, grad_norm: float, seconds: float, data: float
    ) -> None:
        """Log a training step.

        Args:
            iteration: 1-based.
            epoch: number of the epoch.
            losses: means over all processes.
            lr: learning rate.
            grad_norm: gradient norm before clipping.
            seconds: per step, mean since the last line.
            data: seconds per step waiting for data.
        """
        done = max(1, iteration - self._start)
        eta = timedelta(seconds=round((time.monotonic() - self._begin) / done * (self._total_iter - iteration)))
        shown = ' '.join(f'{name}: {value:.4e}' for name, value in losses.items())
        text = f'[{self._name}] epoch: {epoch} iter: {iteration:,} lr: {lr:.3e} eta: {eta} time: {seconds:.3f} '
        logger.info('%sdata: %.3f grad: %.3e %s', text, data, grad_norm, shown)
        self._write({'iter': iteration, 'epoch': epoch, **losses, 'lr': lr, 'grad_norm': grad_norm,
                     'seconds': round(seconds, 4), 'data_seconds': round(data, 4)})  # fmt: skip
        scalars = {f'losses/{name}': value for name, value in losses.items()}
        self._scalars(iteration, {**scalars, 'lr': lr, 'grad_norm': grad_norm, 'data_seconds': data})

    def scores(self, iteration: int, dataset: str, scores: Values) -> None:
        """Log the scores of a validation."""
        shown = ' '.join(f'{label}: {value:.4f}' for label, value in scores.items())
        logger.info('validation on %s after %s steps: %s', dataset, f'{iteration:,}', shown or 'no metrics')
        self._write({'iter': iteration, 'dataset': dataset, **scores})
        self._scalars(iteration, {f'metrics/{dataset}/{label}': value for label, value in scores.items()})

    def image(self, iteration: int, name: str, image: NDArray[np.uint8]) -> None:
        """Show an image (H, W, 3) RGB in TensorBoard."""
        self.open()
        if self._board is not None:
            self._board.image(iteration, name, image)

    def _write(self, record: Mapping[str, Any]) -> None:
        self.open()
        assert self._file is not None  # noqa: S101 - for the type checker
        finite = {k: v if not isinstance(v, float) or math.isfinite(v) else str(v) for k, v in record.items()}
        try:
            self._file.write(json.dumps(finite, allow_nan=False) + '\n')
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _scalars(self, iteration: int, values: Values) -> None:
        if self._board is not None:
            self._board.scalars(iteration, values)
        if self._wandb is not None:
            self._wandb.log(dict(values), step=iteration)


def open_log(
    experiment: Path, options: Options, start: int, is_first: bool
) -> contextlib.AbstractContextManager[RunLog | None]:
    """Return the log of a training in its first process, and None in the others.

    Args:
        experiment: folder of the experiment; if it exists, the log files are opened at once.
        options: of the option file.
        start: iteration that the run starts after.
        is_first: whether this is the process that writes files.
    """
    if not is_first or options.train is None:
        return contextlib.nullcontext()
    log = RunLog(experiment, options.name, options.train.total_iter, start, options)
    if experiment.is_dir():
        log.open()
    return log


class Timer:
    """A timer of steps, and of waiting for data."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._data, self._steps = 0.0, 0

    def data_is_here(self) -> None:
        """Record that the batches of a step are on the device."""
        self._data += time.perf_counter() - self._last

    def step_is_done(self) -> None:
        """Record the end of a step."""
        self._last = time.perf_counter()
        self._steps += 1

    def means(self) -> tuple[float, float]:
        """Return mean seconds per step, and waiting for data, since the last call."""
        result = (self._last - self._start) / self._steps, self._data / self._steps
        self._start, self._data, self._steps = self._last, 0.0, 0
        return result


def cut_back(path: Path, iteration: int) -> None:
    """Delete incomplete lines and those of later iterations from a JSON-lines file."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines(keepends=True):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if line.endswith('\n') and isinstance(record, dict) and record.get('iter', 0) <= iteration:
            kept.append(line)
    write_whole(path, ''.join(kept).encode())


class _TextFile(logging.FileHandler):
    """The text log. If it cannot be written, the next line of the JSON file raises the error, without a traceback."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Close it; lines that cannot be written are lost."""
        with contextlib.suppress(OSError):
            super().close()


def _wandb(options: Options) -> Any:
    """Start the run of wandb; None if the options disable it."""
    block = options.logger.wandb
    if block is None or not block.project:
        return None
    try:
        import wandb
    except ImportError as error:
        raise OptionError('logger.wandb: wandb is not installed; run `pip install wandb`, or remove the key') from error
    resume = 'must' if block.resume_id else None
    return wandb.init(
        project=block.project, name=options.name, id=block.resume_id, resume=resume, config=options.as_dict()
    )
