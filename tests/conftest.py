"""Fixtures of all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.browser import Browser, find_browser
from tests.helpers.project import SHARED, Vector, absent, find_vector

if 'PYTEST_XDIST_WORKER' in os.environ:  # one thread a worker: idle OpenMP threads spin and starve the others
    os.environ.setdefault('OMP_NUM_THREADS', '1')


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--compile-all', action='store_true', help='compile every network (minutes), not two only')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption('--compile-all'):
        skip = pytest.mark.skip(reason='compiles for long; use --compile-all')
        for item in items:
            if item.get_closest_marker('compile_all'):
                item.add_marker(skip)


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
    from tests.helpers.training_runs import write_pairs

    return write_pairs(tmp_path_factory.mktemp('pairs'))


@pytest.fixture
def recipe(roots: dict[str, str]) -> Callable[..., dict[str, Any]]:
    """``recipe(train__ema_decay=0.9)`` is a short training with them."""
    from tests.helpers.training_runs import options

    return lambda **changes: options(roots, **changes)
