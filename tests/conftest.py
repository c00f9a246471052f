"""Where the tests find their numbers, and what a missing one means: a skip for a user, a failure in CI."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser import Browser, find_browser

if 'PYTEST_XDIST_WORKER' in os.environ:  # one thread a worker: idle OpenMP threads spin and starve the others
    os.environ.setdefault('OMP_NUM_THREADS', '1')

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get('BASICSR_SHARED', ROOT.parent / 'shared'))
CARRIED = ROOT / 'tests' / 'conformance'
IN_CI = os.environ.get('CI', '').lower() in ('1', 'true')


def absent(reason: str) -> Any:
    """Skip the test with the reason; in CI fail instead."""
    if IN_CI:
        pytest.fail(f'{reason} (a skip is a failure in CI)')
    pytest.skip(reason)


def require(*packages: str) -> None:
    """Skip the test with the reason unless these optional packages are installed; in CI fail instead."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            absent(f'the package {package} is not installed')


class Script:
    """The main function of a command, called in this process with a folder of its own as the current one.

    Args:
        name: of the file in ``scripts/``.
        monkeypatch: puts everything back.
        folder: where it runs.
    """

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.name, self.monkeypatch = name, monkeypatch
        monkeypatch.chdir(folder)
        place = importlib.util.spec_from_file_location(f'script_{Path(name).stem}', ROOT / 'scripts' / name)
        self.module: Any = importlib.util.module_from_spec(place)
        monkeypatch.setitem(sys.modules, self.module.__name__, self.module)  # dataclasses look their module up
        monkeypatch.setattr(sys, 'path', list(sys.path))  # which scripts mend
        place.loader.exec_module(self.module)

    def __call__(self, *arguments: str) -> int:
        self.monkeypatch.setattr(sys, 'argv', [self.name, *arguments])
        return self.module.main()


class Vector:
    """One conformance file: what the original implementation returned for given weights and inputs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path, allow_pickle=False) as file:
            self.arrays = {key: file[key] for key in file.files if key != 'meta'}
            self.meta = json.loads(str(file['meta']))

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def state(self) -> dict[str, Any]:
        """The parameters under their published names."""
        import torch

        return {k[len('state/') :]: torch.from_numpy(v) for k, v in self.arrays.items() if k.startswith('state/')}

    @property
    def tolerance(self) -> dict[str, float]:
        """``rtol`` and ``atol`` as the vector states them."""
        return {key: self.meta['tolerance'][key] for key in ('rtol', 'atol')}


def find_vector(topic: str, name: str) -> Path:
    """The file in the shared folder, else the copy this clone carries."""
    for folder in (SHARED / 'conformance', CARRIED):
        if (folder / topic / name).is_file():
            return folder / topic / name
    absent(f'conformance vector {topic}/{name} is neither in {SHARED} nor carried in {CARRIED}')
    raise AssertionError


@pytest.fixture(autouse=True)
def usual_log_level() -> None:
    """A training in the process of an earlier test may have made the package talkative."""
    logging.getLogger('basicsr').setLevel(logging.NOTSET)


@pytest.fixture
def vector() -> Any:
    """``vector('nafnet', 'nafblock')`` loads that conformance file."""
    return lambda topic, name: Vector(find_vector(topic, f'{name}.npz'))


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """The folder of real photographs, pairs and kernels beside the project."""
    if not (SHARED / 'data').is_dir():
        absent(f'the shared folder of real photographs is not at {SHARED}')
    return SHARED / 'data'


@pytest.fixture(scope='module')
def browser() -> Iterator[Browser]:
    """A real browser, with one page in it."""
    program = find_browser()
    if program is None:
        absent('no Chromium or Chrome is installed: nothing was tested in a browser')
    with Browser(str(program)) as one:
        yield one


@pytest.fixture(scope='module')
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pairs with region masks for the tests of trainings; the keys of a data set that reads them."""
    from tests.training_runs import write_pairs

    return write_pairs(tmp_path_factory.mktemp('pairs'))


@pytest.fixture
def recipe(roots: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """``recipe(train__ema_decay=0.9)`` is a short training with them."""
    from tests.training_runs import options

    return lambda **changes: options(roots, **changes)
