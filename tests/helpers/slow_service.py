"""An object for the tests of the page's worker process."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


class SlowService:
    """Waits, fails or ends its process, as it is asked to."""

    def __init__(self, word: str) -> None:
        self.word = word

    def say(self, more: str, report: Any) -> tuple[str, int]:
        """The words and the number of the process."""
        report('saying', 1, 1)
        return f'{self.word} {more}', os.getpid()

    def sleep(self, seconds: float, report: Any) -> None:
        """Work that cannot be interrupted."""
        report('sleeping', 0, 0)
        time.sleep(seconds)

    def fail(self, report: Any) -> None:
        """Raise."""
        raise ValueError('no such luck')

    def vanish(self, report: Any) -> None:
        """End the process, as the system does when memory runs out."""
        os.kill(os.getpid(), 9)

    def deblur(self, source: Path, name: str, network: Path, settings: Any, folder: Path, report: Any) -> Any:
        """Sleep as many seconds as the name says."""
        report('kernel', 0, 5)
        time.sleep(float(name))
        from basicsr.app.facts import ShownResult

        return ShownResult(source, source, source, source, (1, 1))


def in_words(error: Exception, *given: Any) -> str:
    """The message of an error."""
    return f'sorry: {error}'
