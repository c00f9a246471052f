"""Run an entry point: print messages for bad input, and tracebacks only for bugs."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

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


def end_on_sigterm() -> None:
    """Let SIGTERM end the program with exit code 143, after unfinished files are removed."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise_if_ended()


def raise_if_ended() -> None:
    """End the program if it received SIGTERM: an exception that was raised in a destructor or a callback is lost.

    Raises:
        SystemExit: it did.
    """
    if _received:
        sys.exit(128 + _received[-1])


def run(main: Callable[[], int]) -> int:
    """Call ``main`` and print errors that a user can fix as one message on stderr.

    Returns:
        the exit code of ``main``; 1 for bad input or a missing package, 130 after Ctrl-C.
    """
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
    except KeyboardInterrupt:
        return 130
    return 1


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
