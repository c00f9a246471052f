"""Network files with an object that must not be unpickled."""

from __future__ import annotations

import os


class Payload:
    """What a malicious file would hold: unpickling it makes a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)
