"""The visits to the page: which browser has which, and when their files are removed."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from basicsr.app.visit import Visit
from basicsr.app.worker import Refused, Worker

_LATE = 2.0  # seconds
_REMEMBERED = 1000  # visitors who left
MOST_VISITS = 300
"""Open visits; further ones are refused."""
_IDLE = 7200.0  # seconds


class Visits:
    """The visits to the page.

    Attributes:
        problem: why nothing can be deblurred, if so.

    Args:
        folder: for the photos, and for nothing else.
        worker: deblurs them.
        find: see :class:`Visit`.
        seconds: time limit of one photo.
        grace: seconds after which the work of a visitor who left is stopped; a phone may lose its connection briefly.
        kept: seconds after which the photos of a visitor who left are removed.
        unused: seconds after the end of the work, or the last action, when the photos of an open page are removed.
    """

    def __init__(
        self,
        folder: Path,
        worker: Worker,
        find: Callable[[str, dict[str, Path]], Path],
        seconds: float,
        grace: float = 20.0,
        kept: float = 600.0,
        unused: float = 3600.0,
    ) -> None:
        self._folder, self._given = folder, (worker, find, seconds)
        self._grace, self._kept, self._unused = grace, kept, unused
        self._gone: deque[str] = deque(maxlen=_REMEMBERED)  # sessions whose photos were removed
        self.problem = ''
        self._visits: dict[str, Visit] = {}
        self._lock = threading.Lock()

    def of(self, session: str | None, connection: str | None = None) -> Visit:
        """Return the visit of a session of the browser, which is there again if it had left.

        Args:
            session: of a tab, which it keeps when the page is loaded again.
            connection: of the page that calls; leaving ends only the visit of the last one. None is the session.

        Raises:
            Refused: too many visits are open.
        """
        self._close_old()
        with self._lock:
            visit = self._visits.get(session or '')
            if visit is None:
                if len(self._visits) >= MOST_VISITS:
                    raise Refused('this page has too many visitors now; try again in a few minutes')
                visit = self._visits[session or ''] = Visit(self._folder / secrets.token_hex(16), *self._given)
                visit.problem = self.problem
                if session in self._gone:
                    visit.say(f'The page was away for {_minutes(self._kept)}, so its photos were deleted.')
            now = visit.seen = visit.used = time.monotonic()
            connection = connection or session or ''
            if connection != visit.connection:  # the page was loaded again
                visit.connection, visit.left = connection, None
            if visit.left is not None and now - visit.left > _LATE:  # not a call that was under way when the tab closed
                visit.left = None
            return visit

    def is_open(self, session: str | None, visit: Visit) -> bool:
        """Return whether a visit goes on; the page is watching it."""
        with self._lock:
            now = time.monotonic()
            if self._visits.get(session or '') is not visit or visit.left is not None:
                return False
            if now - max(visit.used, visit.seen if visit.busy else 0.0) > _IDLE:
                return False
            visit.seen = now
            return True

    def leave(self, connection: str | None) -> None:
        """Note that a page was closed: its work ends soon, and its photos are removed later."""
        with self._lock:
            for visit in self._visits.values():
                if visit.connection != (connection or ''):
                    continue
                visit.left = time.monotonic()
                for seconds in (self._grace, self._kept):
                    timer = threading.Timer(seconds + 0.1, self.sweep)
                    timer.daemon = True
                    timer.start()

    def sweep(self) -> None:
        """Stop the work and remove the photos of visitors who left, and what nobody uses."""
        self._close_old()
        with self._lock:
            known = {visit.folder for visit in self._visits.values()}
            lost = [folder for folder in self._folder.iterdir() if folder not in known]
        for folder in lost:  # written to after its visit had ended
            shutil.rmtree(folder, ignore_errors=True)

    def _close_old(self) -> None:
        with self._lock:
            old = [visit for session, visit in list(self._visits.items()) if self._is_old(session, visit)]
        for visit in old:  # without the lock, for which open pages would wait
            visit.close()

    def _is_old(self, session: str, visit: Visit) -> bool:
        """Return whether the files of a visit are to be removed; forget the visit unless its page is open."""
        now = time.monotonic()
        away = 0.0 if visit.busy else now - max(visit.seen, visit.used)  # a browser that is no longer watching
        if visit.left is not None:
            away = now - visit.left
        if visit.left is not None and away >= self._grace:
            visit.cancel(reason='the page was closed, or lost its connection')
        if away >= self._kept or (visit.left is not None and not visit.photos):
            if visit.photos:
                self._gone.append(session)
            del self._visits[session]
            return True
        has_files = visit.photos or visit.networks
        if has_files and not visit.busy and now - visit.used >= self._unused:
            visit.say(f'The photos were not used for {_minutes(self._unused)}, so they were deleted.')
            return True
        return False


def _minutes(seconds: float) -> str:
    return f'{seconds / 60:.0f} minutes'
