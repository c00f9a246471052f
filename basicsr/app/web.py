"""Deblur photos in the browser: run python basicsr/app/web.py and open the address that it prints.

Requires the extra `demo`: pip install -e '.[demo]'. By default, only this computer can open the page. It loads nothing
from the internet, and deletes photos after the visit or an hour without use, and when it stops. See docs/web.md.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if not __package__:  # run by its path, not as a module
    runpy.run_path(f'{Path(__file__).resolve().parents[1]}/utils/clone.py')

import argparse
import importlib.util
import os
from typing import NoReturn


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    from basicsr.utils.installation import command_parser

    parser = command_parser(__doc__ or '')
    add = parser.add_argument
    add('--model', metavar='NAME', help='network file, or name in experiments/pretrained_models')
    add('--host', default='127.0.0.1', help='address to bind; 0.0.0.0 accepts any host (default: 127.0.0.1)')
    add('--port', type=int, default=7860, help='port to bind; 0 chooses a free port (default: 7860)')
    add('--max-megapixels', type=float, default=24.0, metavar='N', help='reject larger photos (default: 24)')
    add('--max-photos', type=int, default=50, metavar='N', help='photos of one visitor at a time (default: 50)')
    add('--max-minutes', type=float, default=30.0, metavar='N', help='time limit of one photo (default: 30)')
    add('--sam-checkpoint', metavar='FILE', help='Segment Anything weights; adds its masks to the page')
    add('--examples', type=Path, metavar='DIR', help='folder of example photos; by default, examples are generated')
    add('--device', default='auto', help='auto, cpu, cuda, cuda:1 or mps')
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Serve the page until it is stopped."""
    args = parse(arguments)
    from basicsr.utils.errors import OptionError
    from basicsr.utils.installation import IS_CLONE, ROOT

    if importlib.util.find_spec('gradio') is None:
        raise OptionError("the page requires gradio: run pip install -e '.[demo]'" + f' in {ROOT}' * IS_CLONE)
    if not 0 <= args.port <= 65535:
        raise OptionError(f'--port: expected a number from 0 to 65535, got {args.port}')
    from basicsr.app.server import serve

    serve(**vars(args))
    return 0


def command() -> NoReturn:
    """Run :func:`main` as a program and exit."""
    from basicsr.utils.console import run

    code = run(main)
    sys.stdout.flush()
    if 'basicsr.app.worker' in sys.modules:
        from basicsr.app.worker import remove_sockets

        remove_sockets()
    os._exit(code)  # does not wait for photos in progress: their results could not be shown


if __name__ == '__main__':
    command()
