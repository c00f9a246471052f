"""Deblur photos in the browser: python basicsr/app/web.py, then open the address that it prints.

Needs the extra `demo`: pip install -e '.[demo]'. The page is for this computer alone unless --host says otherwise,
loads nothing from the internet, and forgets photos within the hour and when it ends. docs/web.md explains it.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parents[1]}/utils/clone.py')

import argparse
import importlib.util
import logging
import os
from typing import NoReturn


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from basicsr.utils.installation import with_commands

    parser = argparse.ArgumentParser(
        description=with_commands(__doc__ or ''), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--model', metavar='NAME', help='a network file, or the name of one in experiments/pretrained_models')
    add('--host', default='127.0.0.1', help='address to listen at; 0.0.0.0 lets everybody in (127.0.0.1)')
    add('--port', type=int, default=7860, help='7860 by default; 0 takes a free one')
    add('--max-megapixels', type=float, default=24.0, metavar='N', help='larger photos are refused (24)')
    add('--sam-checkpoint', metavar='FILE', help='weights of Segment Anything, to offer its masks as well')
    add('--examples', type=Path, metavar='DIR', help='photos to try it with, instead of those it makes')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Show the page until it is ended."""
    args = parse(arguments)
    logging.basicConfig(format='%(message)s', level=logging.WARNING)
    from basicsr.utils.errors import OptionError
    from basicsr.utils.installation import IS_CLONE, ROOT, pip_install

    if importlib.util.find_spec('gradio') is None:
        where = f' in {ROOT}' if IS_CLONE else ''
        raise OptionError(f'the page needs gradio: run {pip_install("demo")}{where}')
    if not 0 <= args.port <= 65535:
        raise OptionError(f'--port is a number from 0 to 65535, not {args.port}')
    from basicsr.app.server import serve

    serve(**vars(args))
    return 0


def command() -> NoReturn:
    """Run :func:`main` as a program, which ends with it."""
    from basicsr.utils.console import run

    code = run(main)
    sys.stdout.flush()
    os._exit(code)  # waits for no photo in work: nobody would see its result


if __name__ == '__main__':
    command()
