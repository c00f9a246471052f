"""Numbers and images for TensorBoard."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basicsr.utils.console import missing_package
from basicsr.utils.errors import OptionError


class Board:
    """A writer of TensorBoard files, whose errors name their folder.

    Args:
        folder: is created by :meth:`open`.
        start: iteration before the first step of this run; TensorBoard does not show later ones of an earlier run.

    Raises:
        OptionError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, start: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            advice = missing_package('tensorboard')
            raise OptionError(f'logger.use_tb_logger: {advice}; or set it to false') from error
        self._folder, self._kind = folder, SummaryWriter
        self._purge = start + 1 if start else None
        self._writer: Any = None

    def open(self) -> None:
        """Create the file.

        Raises:
            OSError: as all methods: the disk is full, or the folder is not writable; its ``filename`` is the folder.
        """
        _leave_errors_of_its_threads_to_their_callers()
        with self._named():
            self._writer = self._kind(str(self._folder), purge_step=self._purge)

    def scalars(self, iteration: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""
        with self._named():
            for name, value in values.items():
                self._writer.add_scalar(name, value, iteration)

    def image(self, iteration: int, name: str, image: NDArray[np.uint8]) -> None:
        """Write an image (H, W, 3) RGB."""
        with self._named():
            self._writer.add_image(name, image, iteration, dataformats='HWC')

    def close(self) -> None:
        """Write what is left; further calls do nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._named():
                writer.close()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self._folder)) from error


def _leave_errors_of_its_threads_to_their_callers() -> None:
    """Do not print errors of TensorBoard's threads: the next call raises them again."""
    before = threading.excepthook
    if getattr(before, 'leaves_tensorboard', False):
        return

    def hook(arguments: Any) -> None:
        if not type(arguments.thread).__module__.startswith('tensorboard.'):
            before(arguments)

    hook.leaves_tensorboard = True  # type: ignore[attr-defined]
    threading.excepthook = hook
