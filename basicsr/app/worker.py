"""A process that works for the page, so that any step of the work can be ended at once and its memory is freed."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import connection, util
from typing import Any

from basicsr.app.facts import Report
from basicsr.app.turns import Turns
from basicsr.utils.errors import BasicsrError
from basicsr.utils.installation import IS_CLONE, ROOT

logger = logging.getLogger(__name__)

_POLL = 0.05
_PRELOADED = ['basicsr.app.service']  # new processes start with these modules, in well under a second


class Stopped(Exception):
    """The work was cancelled."""


class Refused(BasicsrError):
    """The work failed; the message is for the user."""


class Busy(Refused):
    """Too many calls wait."""


class Worker:
    """Calls methods of an object in a process of its own, one call at a time in the order of asking.

    The process starts with the first call, and again after its work was stopped.

    Args:
        make: builds the object in the process; a function of a module.
        *arguments: of ``make``.
        words: turns an error of the object into a message, in the process; a function of a module.
        most: the largest number of calls that may wait.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any, words: Callable[..., str] = str, most: int = 20):
        self._made_by, self._words, self._most = (make, arguments), words, most
        self._turns = Turns()
        self._process: Any = None
        self._pipe: Any = None
        self._closed = self._gives_way = False

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._end()

    @property
    def waiting(self) -> int:
        """Number of calls that wait or are in work."""
        return self._turns.waiting

    def call(
        self,
        name: str,
        *arguments: Any,
        report: Report = lambda step, done, total: None,
        stop: threading.Event | None = None,
        seconds: float | None = None,
        gives_way: bool = False,
    ) -> Any:
        """Call a method of the object.

        Args:
            name: of the method, which takes ``report`` as a keyword argument.
            *arguments: of the method.
            report: called with ``waiting`` and the number of calls before this one, then with the method's reports.
            stop: ends the work as soon as it is set.
            seconds: time limit of the work, without waiting.
            gives_way: end the work, or do not begin it, as soon as there is another call. Nobody waits for it.

        Returns:
            the method's result.

        Raises:
            Stopped: ``stop`` was set, or the call gave way.
            Busy: too many calls wait.
            Refused: the method raised, it took too long, or the process ended unexpectedly.
        """
        if gives_way and self._turns.waiting:
            raise Stopped
        if self._turns.waiting >= self._most:
            raise Busy(f'the page is busy: {self._turns.waiting} photos are waiting; try again in a few minutes')

        def check(before: int) -> None:
            if self._closed or (stop is not None and stop.is_set()):
                raise Stopped
            report('waiting', before - self._gives_way if before else 0, 0)

        with self._turns.turn(check):
            check(0)
            try:
                self._gives_way = gives_way
                return self._work((name, arguments), report, stop, seconds)
            except Refused:
                raise
            except Exception as error:
                self._end()
                if self._closed:
                    raise Stopped from error
                if isinstance(error, (EOFError, OSError)):
                    words = 'the work ended unexpectedly, probably because it ran out of memory; try a smaller photo'
                    raise Refused(words) from error
                raise
            except BaseException:
                self._end()
                raise

    def _work(self, order: tuple[str, Any], report: Report, stop: threading.Event | None, seconds: float | None) -> Any:
        limit = None if seconds is None else time.monotonic() + seconds
        if self._process is None or not self._process.is_alive():
            try:
                self._start()
            except OSError as error:
                logger.exception('the page cannot start its worker process')
                raise Refused('processing is not available now; see the server log') from error
        pipe = self._pipe  # another thread removes it when the page ends
        if self._closed:
            raise Stopped
        pipe.send(order)
        while True:
            if (stop is not None and stop.is_set()) or (self._gives_way and self._turns.waiting > 1):
                raise Stopped
            if limit is not None and time.monotonic() > limit:
                self._end()
                allowed = f'{seconds:.0f} seconds' if (seconds or 0) < 120 else f'{(seconds or 0) / 60:.0f} minutes'
                raise Refused(f'it took longer than this page allows ({allowed}); scale the photo down, or crop it')
            if not pipe.poll(_POLL):
                continue
            kind, value = pipe.recv()
            if kind == 'report':
                report(*value)
            elif kind == 'refused':
                raise Refused(value)
            else:
                return value

    def _start(self) -> None:
        context: Any = multiprocessing.get_context('spawn' if sys.platform == 'win32' else 'forkserver')
        if sys.platform != 'win32':
            _start_forkserver(context)
        self._pipe, theirs = context.Pipe()
        more = (theirs, *self._made_by, self._words)
        self._process = context.Process(target=_serve, args=more, name='worker', daemon=True)
        self._process.start()
        theirs.close()

    def _end(self) -> None:
        process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is not None:
            process.kill()
            process.join()
            pipe.close()


def _start_forkserver(context: Any) -> None:
    """Start the process from which workers are forked, with the modules of this clone and not of the current folder."""
    from multiprocessing import forkserver

    context.set_forkserver_preload(_PRELOADED)
    paths = [str(ROOT)] * IS_CLONE + [path for path in [os.environ.get('PYTHONPATH')] if path]
    wanted = {'PYTHONPATH': os.pathsep.join(paths), 'PYTHONSAFEPATH': '1'}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def remove_sockets() -> None:
    """Remove the folder with the socket of the process from which workers are forked, before ``os._exit``."""
    shutil.rmtree(util.get_temp_dir(), ignore_errors=True)


def _serve(pipe: Any, make: Callable[..., Any], arguments: tuple[Any, ...], words: Callable[..., str]) -> None:
    """Build the object, then answer calls until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target: Any = None

    def report(step: str, done: int, total: int) -> None:
        pipe.send(('report', (step, done, total)))

    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            name, given = pipe.recv()
            try:
                target = make(*arguments) if target is None else target
                answer = 'done', getattr(target, name)(*given, report=report)
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001 - ``words`` logs unexpected errors
                answer = 'refused', words(error, *given)
            pipe.send(answer)


def _end_with_parent() -> None:
    """End this process when the server has ended, whatever it is doing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
