"""Load an option file as checked options, and write checked options as YAML."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable
from pathlib import Path

import yaml

from basicsr.options import legacy
from basicsr.options.checking import check
from basicsr.options.includes import read_file
from basicsr.options.overrides import FLAG, apply_overrides
from basicsr.options.reader import OptionDumper, Position, Tree
from basicsr.options.schema import Options, Origin
from basicsr.options.shipped import Phase, find_option_file
from basicsr.utils.errors import OptionError
from basicsr.utils.problems import Problem

logger = logging.getLogger(__name__)


def load_options(path: str | Path, force: Iterable[str] = (), phase: Phase | None = None) -> Options:
    """Read, merge and check an option file. Nothing is built, and paths need not exist (see ``check_paths``).

    Args:
        path: the YAML file, or the name of a shipped one, such as ``GoPro/SAMDeblur``.
        force: values that override it, in the notation of ``--force_yml`` (``train:optim_g:lr=5e-4``).
        phase: chooses between two shipped files of one name, for training and for evaluation.

    Returns:
        the options with all defaults.

    Raises:
        OptionError: all mistakes, one per line: file, line, key, expected value.
    """
    path = find_option_file(path, phase)
    tree, refused = apply_overrides(read_file(path), force)
    data, notices, problems = legacy.translate(tree.plain())
    options, found = check(data)
    lines = list(refused)
    for problem in problems + found:
        key, position = dotted(problem.location), tree.locate(problem.location)
        message = f'{key}: {problem.message}' if key else problem.message
        lines.append((position, message + _type_elsewhere(tree, problem, position)))
    if lines or options is None:
        lines.sort(key=lambda line: (line[0].line == 0, line[0]))  # the command line after the files
        raise OptionError(f'{position}: {message}' for position, message in lines)
    options._origin = Origin(Path(path), tree, tuple(notices))
    for notice in notices:
        logger.warning('%s: %s', path, notice)
    return options


def dump(options: Options) -> str:
    """Return the options as YAML with all defaults; ``load_options`` returns the same options from it."""
    return yaml.dump(options.as_dict(), Dumper=OptionDumper, sort_keys=False, allow_unicode=True, width=120)


def dotted(location: Iterable[str | int]) -> str:
    """Return a location in the usual notation: ``train.scheduler.milestones[0]``."""
    return ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in location).removeprefix('.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``-opt`` and ``--force_yml``, the same for every entry point."""
    parser.add_argument(
        '-opt', required=True, metavar='FILE', help='option file (YAML), or name of a shipped option file'
    )
    add_force(parser)


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add ``--force_yml``."""
    parser.add_argument(
        FLAG,
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY:KEY=VALUE',
        help='override options of the file, for example train:optim_g:lr=5e-4 datasets:train:gt_size=128',
    )


def from_arguments(arguments: argparse.Namespace) -> Options:
    """Load the options that the command line asks for.

    Raises:
        OptionError: see :func:`load_options`.
    """
    return load_options(arguments.opt, arguments.force_yml)


def _type_elsewhere(tree: Tree, problem: Problem, position: Position) -> str:
    """Return a note where the type is set, if an unknown argument and its type are in different files."""
    block = problem.location[:-1]
    if not problem.message.startswith("unknown key '"):
        return ''
    place = tree.locate((*block, 'type'))
    if place.file == position.file:
        return ''
    drop = '' if 'did you mean' in problem.message else '; add `_delete_: true` to drop the keys of a base file'
    return f' (its type: {place}{drop})'
