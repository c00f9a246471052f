"""Work for processes of Ray, which import it by name."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.masks.generator import MaskGenerator
from basicsr.utils.errors import DataError


class KilledOnce(MaskGenerator):
    """Squares; the process that makes the third photo's masks is killed, the first time.

    Args:
        folder: notes the photos that were made, and that the process was killed.
    """

    name = 'killed once'

    def __init__(self, folder: Path, killed: bool = True) -> None:
        self.folder, self.killed = folder, killed

    def label_map(self, image: np.ndarray) -> np.ndarray:
        number = int(image[0, 0, 0])
        if self.killed and number == 2 and not (self.folder / 'killed').exists():
            (self.folder / 'killed').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.folder / f'{number}.txt').open('a') as file:
            file.write(f'{os.getpid()}\n')
        return ((np.indices(image.shape[:2]) // (2 + number)).sum(0) % 5)[None]

    @property
    def settings(self) -> dict[str, Any]:
        return {'type': self.name}


def fails_on_three(number: int) -> int:
    """The square; 3 is an error."""
    if number == 3:
        raise DataError('three is not accepted')
    return number**2
