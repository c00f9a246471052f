"""Run an entry point: print messages for bad input, and tracebacks only for bugs."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import FrameType
from typing import NoReturn

from basicsr.utils.errors import BasicsrError
from basicsr.utils.installation import IS_CLONE, ROOT

_ADVICE = {  # what a user can mend about files; any other OSError is a bug of ours
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), 'free some space and run it again: finished work is kept'),
    errno.EFBIG: 'the system does not allow files of this size here (ulimit -f)',
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), 'choose a folder that you may write to'),
    errno.ENOENT: 'check the path; nothing can be created there',
    errno.ENAMETOOLONG: 'shorten the name',
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), 'a file has the name of the folder; choose another name'),
}


_received: list[int] = []


def end_on_signals() -> None:
    """Let SIGTERM and Ctrl-C end the program, with exit code 143 or 130, after unfinished files are removed."""
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # jobs in the background ignore it
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise_if_ended()


def raise_if_ended() -> None:
    """End the program if it received a signal: an exception that was raised in a destructor or a callback is lost.

    Raises:
        SystemExit: it received SIGTERM.
        KeyboardInterrupt: it received Ctrl-C.
    """
    if _received:
        if _received[-1] == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + _received[-1])


def run(main: Callable[[], int]) -> int:
    """Call ``main`` and print errors that a user can fix as one message on stderr.

    Returns:
        the exit code of ``main``; 1 for bad input or a missing package, 130 after Ctrl-C.
    """
    try:
        return _reported(main)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception:
        if _received:  # libraries turn the exception of a signal into others
            return 128 + _received[-1]
        raise


def _reported(main: Callable[[], int]) -> int:
    try:
        return main()
    except BasicsrError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one place that speaks for all entry points
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] == 'basicsr':
            raise
        print(missing_package(error.name or 'a package'), file=sys.stderr)  # noqa: T201
    except BrokenPipeError:  # the reader of our output has seen enough (| head)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(advice(error), file=sys.stderr)  # noqa: T201
    return 1


def run_and_exit(main: Callable[[], int]) -> NoReturn:
    """Call :func:`run` and end the program with its exit code."""
    sys.exit(run(main))


def advice(error: OSError) -> str:
    """Return one line that says what happened to a file and what to do.

    Raises:
        OSError: ``error`` itself, if a user cannot fix it.
    """
    if error.errno not in _ADVICE:
        raise error
    name = f'{error.filename}: ' if error.filename else ''
    return f'{name}{error.strerror}; {_ADVICE[error.errno]}'


def missing_package(name: str) -> str:
    """Return how to install a package that cannot be imported."""
    if not IS_CLONE:
        return f"'{name}' is not installed; `{sys.executable} -m pip check` lists all missing packages"
    for python in (Path('.venv/bin/python'), Path('.venv/Scripts/python.exe')):
        if (ROOT / python).exists() and Path(sys.prefix).resolve() != (ROOT / '.venv').resolve():
            return (
                f"'{name}' is not installed for {sys.executable}; this project's own Python has it: use {ROOT / python}"
            )
    return (
        f"'{name}' is not installed for {sys.executable}; "
        'run `bash scripts/run_tests.sh` once, or `pip install -e .` in an environment of your own'
    )


def share_of(kinds: Collection[str]) -> Callable[[str], tuple[str, float]]:
    """Return the ``type`` of an argument ``kind=number``: one of ``kinds``, and its share, at least 0."""

    def parse(text: str) -> tuple[str, float]:
        kind, equals, number = text.partition('=')
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not equals or kind not in kinds or not value >= 0:
            raise argparse.ArgumentTypeError(f"'{text}' is not KIND=NUMBER with a kind of {', '.join(kinds)}")
        return kind, value

    return parse
