"""What each method makes of a small example, with the chosen network."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from basicsr.app import views
from basicsr.app.visit import Visit
from basicsr.app.worker import Stopped, Worker
from basicsr.images.files import imwrite
from basicsr.images.photo import load_photo
from basicsr.utils.errors import BasicsrError

_SIDE = 192
_SECONDS = 60
_EVERY = 0.5


class Samples:
    """Makes and keeps samples. They give way to photos, and are made once the worker is idle.

    Args:
        worker: makes them.
        folder: for the samples of the page's own networks.
        example: the photo whose middle is shown; None makes no samples.
    """

    def __init__(self, worker: Worker, folder: Path, example: Path | None) -> None:
        self._worker, self._folder, self._example = worker, folder, example
        self._made: dict[tuple[str, str], Path] = {}

    async def show(self, visit: Visit, network: Path, wanted: Callable[[], bool]) -> AsyncIterator[str]:
        """Return the samples as HTML, one after the other as they are made.

        Args:
            visit: of the visitor, which keeps the samples of its own networks.
            network: the network file.
            wanted: whether the page still shows this network.
        """
        if self._example is None:
            return
        try:
            photo = self._photo(self._example)
            pairs = [('Photo', photo)]
            yield ''  # not those of another network
            for method in views.METHODS:
                while (sample := await self._sample(visit, photo, network, method)) is None:
                    await asyncio.sleep(_EVERY)
                    if not wanted():
                        return
                pairs.append((views.name_of(method), sample))
                yield views.samples(pairs)
        except (BasicsrError, OSError):  # the network does not run, which its own results say
            return

    async def _sample(self, visit: Visit, photo: Path, network: Path, method: str) -> Path | None:
        """Return a sample; None if photos are waiting."""
        key = str(network) if method != 'kernel' else '', method
        own = method != 'kernel' and network in visit.networks.values()
        made = visit.samples if own else self._made
        if key not in made:
            folder = visit.new_folder() if own else self._folder / secrets.token_hex(16)
            folder.mkdir(exist_ok=True)
            given = 'sample', photo, network, method, folder
            try:
                made[key] = await asyncio.to_thread(self._worker.call, *given, seconds=_SECONDS, gives_way=True)
            except (Stopped, BasicsrError) as problem:
                shutil.rmtree(folder, ignore_errors=True)
                if isinstance(problem, Stopped):
                    return None
                raise
        return made[key]

    def _photo(self, example: Path) -> Path:
        path = self._folder / 'photo.jpg'
        if not path.exists():
            pixels = load_photo(example).pixels
            top, left = (max(0, (side - _SIDE) // 2) for side in pixels.shape[:2])
            imwrite(path, pixels[top : top + _SIDE, left : left + _SIDE])
        return path
