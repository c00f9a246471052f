"""The commands of an installed package: ``basicsr-train`` and the others of ``[project.scripts]`` in pyproject.toml.

This module is not in ``basicsr``, because another distribution may have overwritten that package; it reports this
first. Each function returns an exit code, or an error message, which ``sys.exit`` of a console script prints (exit code
1).
"""

from __future__ import annotations

import importlib
import sys
from importlib import metadata
from pathlib import Path

DISTRIBUTION = 'basicsr-region-deblur'
PACKAGE = 'basicsr'


def deblur() -> int | str:
    """``basicsr-deblur``: deblur photos and videos."""
    return _run('basicsr.deblur')


def train() -> int | str:
    """``basicsr-train``: train a network."""
    return _run('basicsr.train')


def test() -> int | str:
    """``basicsr-test``: evaluate a network."""
    return _run('basicsr.test')


def masks() -> int | str:
    """``basicsr-masks``: make region masks of photos."""
    return _run('basicsr.make_masks')


def web() -> int | str:
    """``basicsr-web``: deblur photos in the browser."""
    return _run('basicsr.app.web')


def problem() -> str | None:
    """Return why ``import basicsr`` would not find the complete package of this project; None if it would."""
    owners: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        if _installs_package(found):
            owners.setdefault(found.metadata['Name'], found)
    uninstall = f'{sys.executable} -m pip uninstall'
    if others := sorted(owners.keys() - {DISTRIBUTION}):
        return (
            f"{' and '.join(others)} and {DISTRIBUTION} both install a package {PACKAGE} and overwrite each other's "
            f'files: run `{uninstall} {" ".join(others)} {DISTRIBUTION}`, then install {DISTRIBUTION} again.'
        )
    ours = owners.get(DISTRIBUTION)
    listed = ours.files if ours is not None and ours.read_text('RECORD') else None  # a clone's egg-info may be old
    files = [file for file in listed or () if file.suffix == '.py']
    if gone := [file for file in files if not Path(str(file.locate())).exists()]:
        return (
            f'{len(gone)} of {len(files)} files of {DISTRIBUTION} are missing, among them {gone[0]}: '
            f'run `{uninstall} {DISTRIBUTION}`, then install it again.'
        )
    return None


def _installs_package(found: metadata.Distribution) -> bool:
    """Return whether a distribution has a top-level package ``basicsr``."""
    stated = found.read_text('top_level.txt')
    if stated is not None:
        return PACKAGE in stated.split()
    return f'\n{PACKAGE}/__init__.py,' in f'\n{found.read_text("RECORD") or ""}'


def _run(module: str) -> int | str:
    return problem() or int(importlib.import_module(module).command())
