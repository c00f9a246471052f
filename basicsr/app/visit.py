"""A visit to the page: its photos and their work."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from basicsr.app.facts import Settings, ShownResult
from basicsr.app.worker import Busy, Refused, Stopped, Worker
from basicsr.utils.errors import OptionError

logger = logging.getLogger(__name__)

State = Literal['new', 'waiting', 'working', 'done', 'failed', 'cancelled']
_ASK_AGAIN, _MOMENT = 2.0, 1.0  # seconds
BUSY: tuple[State, ...] = ('waiting', 'working')


@dataclass
class Entry:
    """One photo of a visit.

    Args:
        id: random text that names it in the page.
        name: its original file name.
        source: the file.
        folder: for its results.
        thumbnail: a small image of it.
        preview: the photo for the screen.
        size: width and height.
        facts: size and format in words.
        state: what happens to it.
        step: what the work is at, and the finished and total number of such steps.
        started: when the work began, in seconds of ``time.monotonic``.
        reason: of a failure, or why it was cancelled.
        stopped: when it was cancelled, in seconds of ``time.monotonic``.
        asked: settings of the work.
        result: of the last work that was not cancelled.
        settings: of the result.
        stop: ends the work.
    """

    id: str
    name: str
    source: Path
    folder: Path
    thumbnail: Path
    preview: Path
    size: tuple[int, int]
    facts: str
    state: State = 'new'
    step: tuple[str, int, int] = ('', 0, 0)
    started: float = 0.0
    reason: str = ''
    stopped: float = 0.0
    asked: Settings | None = None
    result: ShownResult | None = None
    settings: Settings | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def report(self, step: str, done: int, total: int) -> None:
        """Note how far the work is."""
        if step != 'waiting' and self.state == 'waiting':
            self.state, self.started = 'working', time.monotonic()
        self.step = (step, done, total)


class Visit:
    """The photos of one visitor.

    Args:
        folder: for them; created.
        worker: deblurs them.
        find: returns the file of a network by name, with those of this visit.
        seconds: time limit of one photo.

    Attributes:
        photos: in the order of their upload.
        chosen: id of the photo that is shown.
        networks: uploaded network files by name.
        message: to show, whether it is an error, and whether it stands in place of the result.
        problem: why nothing can be deblurred, if so.
        finished: number of finished runs with results; the page scrolls to the result when it grows.
        left: when the visitor left, in seconds of ``time.monotonic``; None while the page is open.
        connection: of the page that called last.
        watcher: of the page that is open.
        sampler: of the samples that the page shows.
        seen: when the page last called, or was watching.
        used: when the visitor last did something.
        samples: of uploaded networks, by network file and method.
    """

    def __init__(
        self, folder: Path, worker: Worker, find: Callable[[str, dict[str, Path]], Path], seconds: float
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self._worker, self._find, self._seconds = folder, worker, find, seconds
        self.photos: list[Entry] = []
        self.chosen = ''
        self.networks: dict[str, Path] = {}
        self.settings: Settings | None = None
        self.message, self.is_error, self.hides = '', False, False
        self.problem = ''
        self.finished = 0
        self.left: float | None = None
        self.connection = ''
        self.watcher: object = None
        self.sampler: object = None
        self.seen = self.used = time.monotonic()
        self.samples: dict[tuple[str, str], Path] = {}
        self._download: Path | None = None
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether photos wait or are in work."""
        return any(photo.state in BUSY for photo in self.photos)

    @property
    def shown(self) -> Entry | None:
        """The photo that is shown."""
        return next((photo for photo in self.photos if photo.id == self.chosen), None)

    def say(self, message: str = '', is_error: bool = False, hides: bool = False) -> None:
        """Show a message in place of the last one; ``hides`` the result as well, for errors of the work."""
        self.message, self.is_error, self.hides = message, is_error, hides

    def new_folder(self) -> Path:
        """Create a folder whose address cannot be guessed.

        Raises:
            Refused: it cannot be created.
        """
        folder = self.folder / secrets.token_hex(16)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise Refused(f'the page cannot store files now ({error.strerror}); try again later') from error
        return folder

    def new_download(self) -> Path:
        """Create a folder for an archive in place of the last one."""
        last, self._download = self._download, self.new_folder()
        if last is not None:
            shutil.rmtree(last, ignore_errors=True)
        return self._download

    def require_room(self, most: int, is_first: bool = True) -> None:
        """Check that a photo may be added; see :meth:`add`."""
        with self._lock:
            if len(self.photos) - (is_first and self._gives_way) >= most:
                raise OptionError(f'not added: you can add up to {most} photos; remove some first')

    @property
    def _gives_way(self) -> bool:
        """Whether the next upload replaces the current photo: it is the only one, and is not being processed."""
        return len(self.photos) == 1 and not self.busy

    def add(self, photo: Entry, most: int, is_first: bool = True) -> None:
        """Add a photo. It joins the work if there is any, with the same settings.

        Args:
            photo: the photo.
            most: the largest number of photos.
            is_first: of its upload: it is shown, and replaces a single photo at rest.

        Raises:
            OptionError: there are too many.
        """
        with self._lock:
            self.require_room(most, is_first)
            if is_first and self._gives_way:
                self.remove(self.photos[0].id)
            asked = next((each.asked for each in self.photos if each.state in BUSY), None)
            self.photos.append(photo)
            if asked is not None:
                self._enqueue(photo, asked)
            if is_first:
                self.chosen = photo.id

    def remove(self, name: str) -> None:
        """Stop the work on a photo, and remove it with its results."""
        with self._lock:
            photo = self.of(name)
            if photo is None:
                return
            photo.stop.set()
            self.photos.remove(photo)
            if self.chosen == name:
                self.chosen = self.photos[-1].id if self.photos else ''
        shutil.rmtree(photo.folder, ignore_errors=True)

    def of(self, name: str) -> Entry | None:
        """Return a photo by its id; None if it was removed."""
        return next((photo for photo in self.photos if photo.id == name), None)

    def start(self, settings: Settings) -> int:
        """Deblur all photos without a result of these settings. Earlier results stay until the new ones are there.

        Returns:
            the number of photos to deblur.

        Raises:
            OptionError: there are no photos.
        """
        with self._lock:
            if not self.photos:
                raise OptionError('Choose a photo first.')
            self.settings = settings
            todo = [photo for photo in self.photos if self.is_outdated(photo)]
            for photo in todo:
                self._enqueue(photo, settings)
            return len(todo)

    def is_outdated(self, photo: Entry) -> bool:
        """Return whether a photo has no result, or one of other settings than the present ones."""
        return photo.state not in BUSY and (photo.result is None or photo.settings != self.settings)

    def cancel(self, name: str = '', reason: str = '') -> None:
        """Stop the work on one photo, or on all.

        Args:
            name: id of the photo; empty for all.
            reason: to show, if it was not the visitor's wish.
        """
        with self._lock:
            for photo in self.photos:
                if photo.state in BUSY and name in ('', photo.id):
                    photo.stop.set()
                    photo.state, photo.reason, photo.stopped = 'cancelled', reason, time.monotonic()

    def just_stopped(self, name: str) -> bool:
        """Return whether the work on a photo was cancelled a moment ago."""
        photo = self.of(name)
        return photo is not None and time.monotonic() - photo.stopped < _MOMENT

    def close(self) -> None:
        """Stop all work and remove all files; the visit may go on without them."""
        with self._lock:
            for photo in self.photos:
                photo.stop.set()
            self.photos.clear()
            self.networks.clear()
            self.samples.clear()
            self.chosen = ''
        shutil.rmtree(self.folder, ignore_errors=True)

    def _enqueue(self, photo: Entry, settings: Settings) -> None:
        photo.state, photo.reason, photo.step = 'waiting', '', ('waiting', 0, 0)
        photo.asked, photo.stop = settings, threading.Event()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name='visit', daemon=True)
            self._thread.start()

    def _next(self, made: bool) -> Entry | None:
        with self._lock:
            photo = next((photo for photo in self.photos if photo.state == 'waiting'), None)
            if photo is None:
                self._thread = None  # the next photo starts another one
                self.finished += made
                self.used = time.monotonic()
            return photo

    def _work(self) -> None:
        """Deblur photos until none waits."""
        made = False
        while (photo := self._next(made)) is not None:
            stop, settings = photo.stop, photo.asked
            assert settings is not None  # noqa: S101 - set with the state
            result, reason, folder = None, '', photo.folder / secrets.token_hex(16)
            try:
                network = self._find(settings.network, self.networks)
                folder.mkdir()
                given = (photo.source, photo.name, network, settings, folder)
                result = self._worker.call('deblur', *given, report=photo.report, stop=stop, seconds=self._seconds)
            except Stopped:
                pass
            except Busy:  # it stays in its place and asks again
                shutil.rmtree(folder, ignore_errors=True)
                stop.wait(_ASK_AGAIN)
                continue
            except (Refused, OptionError) as error:
                reason = str(error)
            except OSError as error:
                reason = f'the photo cannot be read any more ({error.strerror}); upload it again'
            except Exception:
                logger.exception('unexpected error on the page')
                reason = 'unexpected error; see the server log'
            with self._lock:
                # a photo that was cancelled, perhaps to start again, keeps its earlier result
                kept = stop is photo.stop and bool(result or reason)
                if kept:
                    photo.state, photo.reason = 'done' if result else 'failed', reason
                    photo.result, photo.settings = result, settings
                    made = made or result is not None
                    if result is not None and (self.shown is None or self.shown.result is None):
                        self.chosen = photo.id
                elif stop is photo.stop:
                    photo.state = 'cancelled'
            _keep_only(photo.folder, folder) if kept else shutil.rmtree(folder, ignore_errors=True)


def _keep_only(folder: Path, kept: Path) -> None:
    """Remove the folders of earlier results."""
    for other in folder.iterdir() if folder.exists() else ():
        if other.is_dir() and other != kept:
            shutil.rmtree(other, ignore_errors=True)
