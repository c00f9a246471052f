"""What every entry point does around its main function: messages for bad input, tracebacks for bugs only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from basicsr.utils.errors import BasicsrError


def run(main: Callable[[], int]) -> int:
    """Call ``main`` and turn what a user can mend into one message on stderr.

    Returns:
        what ``main`` returns; 1 for bad input or a missing package, 130 after Ctrl-C.
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
    except KeyboardInterrupt:
        return 130
    return 1


def missing_package(name: str) -> str:
    """What to do about a package that cannot be imported."""
    root = Path(__file__).resolve().parents[2]
    for python in (Path('.venv/bin/python'), Path('.venv/Scripts/python.exe')):
        if (root / python).exists() and Path(sys.prefix).resolve() != (root / '.venv').resolve():
            return (
                f"'{name}' is not installed for {sys.executable}; this project's own Python has it: use {root / python}"
            )
    return (
        f"'{name}' is not installed for {sys.executable}; "
        'run `bash scripts/run_tests.sh` once, or `pip install -e .` in an environment of your own'
    )
